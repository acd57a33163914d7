#!/usr/bin/env bash
# Makes the Debian package, in target/debian: both programs, and what they say of themselves, manual pages and completions.
set -euo pipefail
cd "$(dirname "$0")/.."
# The pages are in the language of who asks for them.
export LC_ALL=C.UTF-8

cargo build --locked --release --bins
rm -rf target/deb
tools/install.sh target/release target/deb >/dev/null
cargo deb --locked --no-build
