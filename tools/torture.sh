#!/usr/bin/env bash
# Everything that is tried against Correio, at full length: what docs/reliability.md reports. Hours in all; name the parts to run
# only those (`tools/torture.sh sim kills`). Each part's output goes to target/torture/PART.log; the last table says how each ended.
# A part's size is a variable (CORREIO_SEEDS=1000 tools/torture.sh sim).
set -uo pipefail
cd "$(dirname "$0")/.."

logs=target/torture
mkdir -p "$logs"
[ -x .venv/bin/python ] && export CORREIO_PYTHON="$PWD/.venv/bin/python"
if [ "$(id -u)" = 0 ]; then export CORREIO_NO_SKIP=1; fi

# Runs one integration test program, all its tests one after another, with what they print.
tests() { cargo test --locked "${@/#/--test=}" -- --nocapture --test-threads=1; }
bench() { cargo bench --locked --bench "$@"; }

part_sim() { CORREIO_SEEDS=${CORREIO_SEEDS:-1000000} cargo test --release --locked --lib broker::sim -- --nocapture; }
part_kills() { CORREIO_KILLS=${CORREIO_KILLS:-10000} tests kill_server; }
part_clients() { CORREIO_KILLS=${CORREIO_KILLS:-1000} tests kill_client chat_kill; }
part_cuts() { CORREIO_CUTS=${CORREIO_CUTS:-1000} tests power_cut_server power_cut; }
part_disk() { CORREIO_STEPS=${CORREIO_STEPS:-all} tests disk_errors disk_errors_client; }
part_damage() { CORREIO_FLIPS=${CORREIO_FLIPS:-5000} tests damage; }
part_backup() {
  CORREIO_BACKUP_KILLS=${CORREIO_BACKUP_KILLS:-1000} CORREIO_RESTORES=${CORREIO_RESTORES:-50} CORREIO_ERRORS=${CORREIO_ERRORS:-200} tests backup
}
part_clocks() { tests clocks; }
part_hostile() { CORREIO_HOSTILE=${CORREIO_HOSTILE:-100} tests hostile_bytes; }
part_floods() { CORREIO_FLOOD_SECONDS=${CORREIO_FLOOD_SECONDS:-60} tests floods; }
part_bystanders() { bench bystanders; }
part_crowd() { CORREIO_CLIENTS=${CORREIO_CLIENTS:-10000} bench crowd; }
part_soak() { CORREIO_SOAK_SECONDS=${CORREIO_SOAK_SECONDS:-3600} bench soak; }
part_files() { CORREIO_MAILS=${CORREIO_MAILS:-10000} CORREIO_FILE_MIB=${CORREIO_FILE_MIB:-1024} tests real_mail processes chat_files; }
part_fuzz() { tools/fuzz.sh; }
part_mutants() { tools/mutants.sh; }

parts=(sim kills clients cuts disk damage backup clocks hostile floods bystanders crowd files soak fuzz mutants)
[ $# -eq 0 ] || parts=("$@")
for part in "${parts[@]}"; do
  declare -F "part_$part" >/dev/null || { echo "there is no part '$part'; there are: $(declare -F | sed -n 's/^declare -f part_//p' | tr '\n' ' ')" >&2; exit 64; }
done

table=()
failed=0
for part in "${parts[@]}"; do
  echo "torture: $part, since $(date -u +%H:%M:%SZ); follow with tail -f $logs/$part.log"
  SECONDS=0
  if "part_$part" >"$logs/$part.log" 2>&1; then how=passed; else how=FAILED failed=1; fi
  table+=("$(printf '%-12s %-7s %6d s' "$part" "$how" "$SECONDS")")
  [ $how = passed ] || tail -n 30 "$logs/$part.log"
done
echo
printf '%s\n' "${table[@]}"
exit $failed
