#!/usr/bin/env bash
# Installs what is missing and nothing else: `setup.sh build` what building and running need,
# `setup.sh test` what the tests need on top. Says what it does; does nothing a second time.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: itself when we are, else by sudo.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif have sudo; then sudo "$@"
  else die "not root and no sudo here; run this as root, then try again: $*"
  fi
}

# Installs packages: Debian's and Homebrew's names differ, so each call gives both ("-" for none).
missing_apt=() missing_brew=()
want() {
  [ "$1" = - ] || missing_apt+=("$1")
  [ "$2" = - ] || missing_brew+=("$2")
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# One package that cannot be had must not keep the others away.
one_by_one() {
  local package failed=0
  for package in "$@"; do
    apt_install "$package" || { say "apt-get could not install $package"; failed=1; }
  done
  return "$failed"
}

install_wanted() {
  if have apt-get; then
    [ ${#missing_apt[@]} -gt 0 ] || return 0
    say "installing with apt-get: ${missing_apt[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq || say "apt-get update failed; trying with the lists that are here"
    apt_install "${missing_apt[@]}" || one_by_one "${missing_apt[@]}"
  elif have brew; then
    [ ${#missing_brew[@]} -gt 0 ] || return 0
    say "installing with Homebrew: ${missing_brew[*]}"
    brew install --quiet "${missing_brew[@]}"
  elif [ $((${#missing_apt[@]} + ${#missing_brew[@]})) -gt 0 ]; then
    die "neither apt-get nor Homebrew here; install the like of: ${missing_apt[*]}"
  fi
}

setup_build() {
  missing_apt=() missing_brew=()
  have cargo || die "no Rust here; get the stable toolchain from https://rustup.rs, then try again"
  local minor
  minor=$(cargo --version | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p')
  [ "${minor:-999}" -ge 93 ] || die "Rust 1.$minor is too old, 1.93 is needed; try: rustup update stable"
  have cc || want build-essential -
  have pkg-config || want pkg-config pkg-config
  { have pkg-config && pkg-config --exists 'libzmq >= 4.2'; } || want libzmq3-dev zeromq
  install_wanted
  pkg-config --exists 'libzmq >= 4.2' || die "pkg-config still finds no libzmq of 4.2 or newer"
}

has_test_mail() { "$1" -c 'import test.test_email' >/dev/null 2>&1; }
has_zmq() { .venv/bin/python -c 'import zmq; assert zmq.has("curve")' >/dev/null 2>&1; }

setup_test() {
  missing_apt=() missing_brew=()
  have python3 || want python3 python3
  if ! has_zmq; then
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || want python3-venv -
  fi
  if [ "$(uname -s)" = Linux ]; then
    have strace || want strace -
    have ip || [ -x /usr/sbin/ip ] || want iproute2 -
    have mkfs.ext4 || [ -x /usr/sbin/mkfs.ext4 ] || want e2fsprogs -
    have mount || want mount -
    have prlimit || want util-linux -
    have faketime || want faketime -
    have promtool || want prometheus -
    have chromium || want chromium -
    have systemd-analyze || want systemd -
    have patch || want patch -
    have mutt || have neomutt || want mutt -
    have notmuch || want notmuch -
    have aerc || want aerc -
    have tmux || want tmux -
    have zsh || want zsh -
    have fish || want fish -
    have mandoc || want mandoc -
  fi
  install_wanted || say "not everything the tests want could be installed; the tests that need it will say so"
  setup_test_mail || say "no test mail of CPython: the test of real mail will say so"
  setup_python || say "no pyzmq: the test of examples/python will say so"
  setup_components
}

# CPython's own test messages; Debian keeps them in a package named after Python's version.
setup_test_mail() {
  local python version
  for python in python3 /usr/bin/python3; do
    if has_test_mail "$python"; then return 0; fi
  done
  version=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])') || return 1
  missing_apt=("libpython$version-testsuite") missing_brew=()
  install_wanted && has_test_mail /usr/bin/python3
}

# A Python of our own in .venv, with pyzmq's wheel, which brings a libzmq that has CURVE.
setup_python() {
  if has_zmq; then return 0; fi
  say "making .venv with pyzmq"
  python3 -m venv .venv && .venv/bin/python -m pip install --quiet --disable-pip-version-check pyzmq && has_zmq
}

setup_components() {
  cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return 0
  have rustup || die "cargo fmt or cargo clippy is missing and there is no rustup to add it; install rustfmt and clippy"
  say "adding rustfmt and clippy"
  rustup component add rustfmt clippy
}

for part in "$@"; do
  case "$part" in
    build) setup_build ;;
    test) setup_test ;;
    *) die "usage: setup.sh [build] [test]" ;;
  esac
done
