#!/usr/bin/env bash
# Format, lints, docs and dependencies: all must be clean.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf 'check: %s\n' "$*"; }

step 'cargo fmt --check'
cargo fmt --check
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

# Advisories come from a git repository that not every network reaches.
step 'cargo deny check advisories'
log=$(mktemp); trap 'rm -f "$log"' EXIT
if cargo deny fetch db >"$log" 2>&1; then
  cargo deny --log-level error check --disable-fetch advisories
else
  echo "SKIPPED: cargo-deny advisories, their database cannot be fetched ($(grep . "$log" | tail -n 1 | cut -c1-160))"
fi
step 'clean'
