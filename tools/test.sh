#!/usr/bin/env bash
# Runs all tests, then prints what was skipped and, last and alone on its line, the totals.
# The programs under test are built once, with the checks of the development profile (overflow, assertions).
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ -x .venv/bin/python ] && export CORREIO_PYTHON="$PWD/.venv/bin/python"

cargo test --locked --no-fail-fast "$@" -- --show-output 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

sum() { sed -n "s/^test result: .* \([0-9]*\) $1;.*/\1/p" "$log" | awk '{n += $1} END {print n + 0}'; }
passed=$(sum passed) failed=$(sum failed) ignored=$(sum ignored)
skips=$(sed -nE 's/^(test [^ ]+ \.\.\. )?SKIPPED: //p' "$log" | sort -u)
skipped=$(printf '%s' "$skips" | grep -c '' || true)
# Where nothing may be skipped, a skip is counted among the failures already.
if [ "${CORREIO_NO_SKIP:-}" = 1 ]; then skipped=0; fi

# A test program that died has no result of its own: it counts as one failure.
targets=$(sed -nE 's/^error: ([0-9]+) targets? failed:$/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
died=$((targets - $(grep -c '^test result: FAILED' "$log" || true)))
if [ "$died" -gt 0 ]; then failed=$((failed + died)); fi
# A run that stopped before its tests (a build error, a crash) has failed whatever was counted.
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
[ -z "$skips" ] || { echo; echo 'Skipped:'; printf '%s\n' "$skips" | sed 's/^/  /'; }
# What the failed tests said, once more at the end: a log that is kept in part keeps its end.
awk '/^failures:$/ {said = !said} /^     Running |^test result/ {said = 0} said' "$log" | tail -n 200
grep -hE '^test .* FAILED$' "$log" | sed 's/^/  /' || true
echo
echo "$((passed - skipped)) passed, $failed failed, $((skipped + ignored)) skipped"
[ "$failed" -eq 0 ] && [ "$status" -eq 0 ]
