#!/usr/bin/env bash
# Format, lints, docs and dependencies: all must be clean.
# CORREIO_ADVISORIES=FOLDER takes the advisories from a clone of https://github.com/RustSec/advisory-db, for networks that do not
# reach it; without it, and without the network, both checks of advisories say SKIPPED.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf 'check: %s\n' "$*"; }

step 'cargo fmt --check'
cargo fmt --check
cargo fmt --check --manifest-path bench/Cargo.toml
step 'cargo clippy --all-targets'
cargo clippy --quiet --locked --all-targets -- -D warnings
step 'cargo doc, private items too'
RUSTDOCFLAGS='-D warnings' cargo doc --quiet --locked --no-deps --document-private-items --lib

if ! cargo deny --version >/dev/null 2>&1; then
  step 'cargo-deny is missing: building it, once, which takes a few minutes'
  cargo install --quiet --locked --debug cargo-deny
fi
step 'cargo deny check bans licenses sources'
cargo deny --log-level error check bans licenses sources

# Advisories come from a git repository that not every network reaches, or from a clone of it.
advisories=https://github.com/RustSec/advisory-db
if [ -n "${CORREIO_ADVISORIES:-}" ]; then
  export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$CORREIO_ADVISORIES.insteadOf" GIT_CONFIG_VALUE_0=$advisories
fi
log=$(mktemp); trap 'rm -f "$log"' EXIT
why() { grep . "$log" | tail -n 1 | cut -c1-160; }

step 'cargo deny check advisories'
if cargo deny fetch db >"$log" 2>&1; then
  cargo deny --log-level error check advisories
else
  echo "SKIPPED: cargo-deny advisories, their database cannot be fetched ($(why))"
fi

step 'cargo audit'
if ! cargo audit --version >/dev/null 2>&1; then
  echo 'SKIPPED: cargo-audit, which is not installed (cargo install cargo-audit)'
else
  # The exceptions and their reasons are those of deny.toml.
  mapfile -t excepted < <(sed -n 's/.*id = "\(RUSTSEC-[0-9-]*\)".*/--ignore=\1/p' deny.toml)
  if [ -n "${CORREIO_ADVISORIES:-}" ]; then from=(--db "$CORREIO_ADVISORIES" --no-fetch); else from=(--url "$advisories"); fi
  code=0
  cargo audit --quiet --deny warnings "${from[@]}" "${excepted[@]}" >"$log" 2>&1 || code=$?
  if [ "$code" -ne 0 ] && grep -q "couldn't fetch advisory database" "$log"; then
    echo "SKIPPED: cargo-audit, its database cannot be fetched ($(why))"
  elif [ "$code" -ne 0 ]; then
    cat "$log"; exit "$code"
  fi
fi
step 'clean'
