#!/usr/bin/env bash
# Runs all tests, then prints what was skipped and, last and alone on its line, the totals.
# The binaries under test are built once, with the optimised profile that `make build` made already.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ -x .venv/bin/python ] && export CORREIO_PYTHON="$PWD/.venv/bin/python"

cargo test --release --locked --no-fail-fast "$@" -- --show-output 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

sum() { sed -n "s/^test result: .* \([0-9]*\) $1;.*/\1/p" "$log" | awk '{n += $1} END {print n + 0}'; }
passed=$(sum passed) failed=$(sum failed) ignored=$(sum ignored)
skips=$(sed -n 's/^SKIPPED: //p' "$log" | sort -u)
skipped=$(printf '%s' "$skips" | grep -c '')

# A run that stopped before its tests (a build error, a crash) has failed whatever was counted.
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
[ -z "$skips" ] || { echo; echo 'Skipped:'; printf '%s\n' "$skips" | sed 's/^/  /'; }
grep -hE '^(test .* FAILED|---- .* stdout ----)$' "$log" | sed 's/^/  /' || true
echo
echo "$((passed - skipped)) passed, $failed failed, $((skipped + ignored)) skipped"
[ "$failed" -eq 0 ] && [ "$status" -eq 0 ]
