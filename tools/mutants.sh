#!/usr/bin/env bash
# Takes the guards of the promises away, one at a time, and expects tests to go red.
#
#   tools/mutants.sh            every patch of tests/mutations, then cargo-mutants on the pure files of the broker
#   tools/mutants.sh NAME...    these patches only
#
# Works on a copy of the tree in a temporary folder; the tree itself is never touched. CORREIO_MUTANTS_TARGET is a target
# directory that lasts from run to run (default: target/mutants). CORREIO_MUTANTS=patches leaves the second half out. CORREIO_SEEDS and
# CORREIO_CUTS take the place of the patches' own.
# Ends with 1 when a patch no longer applies or does not build, when a test stays green under one, or when the score of
# cargo-mutants is below 85 %. Tests that this machine cannot run (root, loop mounts, strace) count as SKIPPED.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

command -v patch >/dev/null || { echo 'mutants: patch is missing; apt-get install patch'; exit 1; }
target=${CORREIO_MUTANTS_TARGET:-$root/target/mutants}
mkdir -p "$target"
work=$(mktemp -d "${TMPDIR:-/tmp}/correio-mutants.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/tree
mkdir "$tree"
tar -C "$root" --exclude=./target --exclude=./data --exclude=./homes --exclude=./.git --exclude=./fuzz/target -cf - . | tar -C "$tree" -xf -

bad=0
row() { printf '%-28s %-78s %-10s %s\n' "$@"; }

# Says how it was found: the seed of the simulator, or how many kills or cuts it took.
how() {
  local log=$1 seed cuts
  seed=$(sed -n 's/.*replay with CORREIO_SEED=\([0-9]*\).*/\1/p' "$log" | head -n 1)
  cuts=$(grep -c '^cut [0-9]*: ' "$log" || true)
  if [ -n "$seed" ]; then echo "by seed $seed"
  elif grep -q 'power_cut' <<<"$2"; then echo "by cut $((cuts + 1))"
  else grep -m 1 -A 1 "panicked at" "$log" | tail -n 1 | cut -c1-90; fi
}

# Runs one line of `Must go red`; the tree is mutated.
judge() {
  local name=$1 line=$2 log=$work/log
  local -a knobs=() words=() filter=()
  local word
  for word in $line; do
    case $word in
      CORREIO_*=*) local knob=${word%%=*}; knobs+=("$knob=${!knob:-${word#*=}}") ;;
      *) words+=("$word") ;;
    esac
  done
  # The last word is the test's name; what stands before it says where the test lives.
  local test=${words[-1]}
  if [ "${words[0]}" = --lib ]; then filter=(--lib); else filter=(--test "${words[1]}"); fi
  local -a run=(cargo test --quiet --locked "${filter[@]}")
  if ! (cd "$tree" && CARGO_TARGET_DIR=$target "${run[@]}" --no-run) >"$log" 2>&1; then
    row "$name" "$test" 'NO BUILD' "$(grep -m 1 '^error' "$log" | cut -c1-90)"; bad=1; return
  fi
  local code=0
  (cd "$tree" && env CARGO_TARGET_DIR="$target" "${knobs[@]}" timeout 1800 "${run[@]}" -- --exact "$test" --nocapture) >"$log" 2>&1 || code=$?
  if [ "$code" = 124 ]; then
    row "$name" "$test" LATE "no end after half an hour"; bad=1
  elif grep -q '^test result: FAILED' "$log"; then
    row "$name" "$test" red "$(how "$log" "$test")"
  elif grep -q '^SKIPPED' "$log"; then
    row "$name" "$test" SKIPPED "$(grep -m 1 '^SKIPPED' "$log" | cut -c1-90)"
  elif grep -q '^test result: ok. 0 passed' "$log"; then
    row "$name" "$test" 'NO TEST' 'there is no test of that name'; bad=1
  elif [ "$code" = 0 ]; then
    row "$name" "$test" 'NOT SEEN' "$(grep -m 1 '^test result' "$log")"; bad=1
  else
    row "$name" "$test" 'NO RESULT' "$(tail -n 1 "$log" | cut -c1-90)"; bad=1
  fi
}

mutate() {
  local file=$1 name line
  name=$(basename "$file" .patch)
  # Without --fuzz=0 a patch could land where something else is.
  if ! patch --directory="$tree" --strip=1 --fuzz=0 --batch --quiet --no-backup-if-mismatch <"$file" >"$work/log" 2>&1; then
    row "$name" '' 'NO FIT' "$(tail -n 1 "$work/log")"; bad=1
  else
    while read -r line; do judge "$name" "$line"; done < <(sed -n 's/^Must go red: //p' "$file")
  fi
  # Back to what it was, with new times, so that cargo sees it.
  sed -n 's/^+++ b\///p' "$file" | while read -r path; do cp "$root/$path" "$tree/$path"; touch "$tree/$path"; done
}

# cargo-mutants on what .cargo/mutants.toml names. It has its own copy of the tree.
score() {
  if ! cargo mutants --version >/dev/null 2>&1; then
    echo 'SKIPPED: cargo-mutants, which is not installed (cargo install cargo-mutants)'; return
  fi
  echo 'mutants: cargo-mutants on the pure files of the broker; this takes hours'
  CORREIO_SEEDS=50 cargo mutants --dir "$tree" --output "$target" --no-times --colors never "${@}" || true
  local out=$target/mutants.out caught missed late
  caught=$(wc -l <"$out/caught.txt"); missed=$(wc -l <"$out/missed.txt"); late=$(wc -l <"$out/timeout.txt")
  cut -d: -f1 "$out/caught.txt" "$out/missed.txt" "$out/timeout.txt" | sort -u | while read -r file; do
    local c m t
    c=$(grep -c "^$file:" "$out/caught.txt" || true); m=$(grep -c "^$file:" "$out/missed.txt" || true)
    t=$(grep -c "^$file:" "$out/timeout.txt" || true)
    printf '%-32s %4d caught %4d timeout %4d missed  %3d %%\n' "$file" "$c" "$t" "$m" $(((c + t) * 100 / (c + m + t)))
  done
  local percent=$(((caught + late) * 100 / (caught + missed + late)))
  echo "mutants: score $percent % ($caught caught, $late timeout, $missed missed; missed ones in $out/missed.txt)"
  [ "$percent" -ge 85 ] || bad=1
}

row PATCH TEST RESULT HOW
if [ $# -gt 0 ]; then
  for name in "$@"; do mutate "$root/tests/mutations/$name.patch"; done
else
  for file in "$root"/tests/mutations/*.patch; do mutate "$file"; done
  if [ "${CORREIO_MUTANTS:-all}" != patches ]; then score; fi
fi
exit $bad
