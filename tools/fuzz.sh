#!/usr/bin/env bash
# Fuzzes the parsers of fuzz/ one after another, all or those named, and prints a table at the end.
#
#   tools/fuzz.sh [PARSER...]        RUNS=10000000 executions each; RUNS=0 only builds
#   MINUTES=1                        no longer than that for each
#   SANITIZER=address                slower, and watches memory as well (default: none; all but one file of
#                                    ours is safe Rust)
#   KEEP=1                           what is new goes into fuzz/corpus, minimised
#
# Needs a nightly toolchain and cargo-fuzz (rustup toolchain install nightly; cargo install cargo-fuzz). A
# crash, more than 512 MiB or more than 10 s for one input ends with its bytes in fuzz/artifacts/PARSER.
set -uo pipefail
cd "$(dirname "$0")/.."

RUNS=${RUNS:-10000000} MINUTES=${MINUTES:-0} SANITIZER=${SANITIZER:-none} KEEP=${KEEP:-}
MEMORY_MIB=512 SECONDS_EACH=10
target=${FUZZ_TARGET_DIR:-fuzz/target/$SANITIZER}
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
build=(cargo +nightly fuzz build -s "$SANITIZER" --target-dir "$target")
if [ $# -eq 0 ]; then
  "${build[@]}" || exit 1
  mapfile -t parsers < <(cargo +nightly fuzz list)
else
  parsers=("$@")
  for parser in "${parsers[@]}"; do "${build[@]}" "$parser" || exit 1; done
fi
[ "$RUNS" -gt 0 ] || exit 0

stat() { sed -n "s/^stat::$1: *//p" "$2" | tail -n 1; }

# Minimises what is in the tree and what was found into the tree.
keep() {
  local least=$target/least/$1
  rm -rf "$least" && mkdir -p "$least"
  "$2" -merge=1 -rss_limit_mb=$MEMORY_MIB "$least" "fuzz/corpus/$1" "$target/found/$1" >"$log" 2>&1 || return 1
  rm -rf "fuzz/corpus/$1" && mv "$least" "fuzz/corpus/$1"
}

rows=() failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for parser in "${parsers[@]}"; do
  program=$target/$host/release/$parser
  found=$target/found/$parser
  dict=fuzz/dict/$parser.dict
  mkdir -p "$found" "fuzz/artifacts/$parser"
  before=$(find "$found" -type f | wc -l)
  options=(-runs="$RUNS" -max_total_time=$((MINUTES * 60)) -rss_limit_mb=$MEMORY_MIB -timeout=$SECONDS_EACH -print_final_stats=1
    -artifact_prefix="fuzz/artifacts/$parser/")
  [ -f "$dict" ] && options+=(-dict="$dict")
  echo "fuzz: $parser"
  if RUST_BACKTRACE=0 "$program" "$found" "fuzz/corpus/$parser" "${options[@]}" >"$log" 2>&1; then said=; else
    said=FAILED failed=1
    grep -aE -A 3 'panicked at|ERROR: |artifact_prefix' "$log" | cut -c 1-400
  fi
  new=$(($(find "$found" -type f | wc -l) - before))
  rows+=("$(printf '%-16s %12s %9s %9s %6s %s' "$parser" "$(stat number_of_executed_units "$log")" \
    "$(stat average_exec_per_sec "$log")" "$(stat peak_rss_mb "$log")" "$new" "$said")")
  echo "${rows[-1]}"
  [ -z "$KEEP" ] || keep "$parser" "$program" || { echo "fuzz: $parser: cannot minimise its corpus"; failed=1; }
done

echo
printf '%-16s %12s %9s %9s %6s\n' parser executions exec/s 'RSS MiB' new
printf '%s\n' "${rows[@]}"
exit $failed
