#!/usr/bin/env bash
# Starts a server on loopback in the foreground and says what to type in two other terminals:
# run.sh BIN DATA [ARGS of mailserver...]. With a server on DATA already, says so and the same lines.
set -euo pipefail
bin=$1 data=$2
shift 2
homes=$(dirname "$data")/homes

q() { printf '%q' "$1"; }

say_next() {
  local ctl server ana bob
  ctl=$(q "$bin/mailctl") server=$(q "$data/server.url") ana=$(q "$homes/ana") bob=$(q "$homes/bob")
  cat <<END

In a second terminal, log in as ana:

  $ctl --home $ana --server $server login ana

In a third terminal, log in as bob, then send ana a mail:

  $ctl --home $bob --server $server login bob
  $ctl --home $bob send @ana -s Hello -b 'Hello, Ana!'

Back in the second, read it and answer:

  $ctl --home $ana refresh
  $ctl --home $ana send @bob -b 'Hello, Bob!'

And in the third:

  $ctl --home $bob refresh

The data lies in $data, what ana and bob keep in $homes.
END
}

# Prints the pid of the server that runs on DATA, if one does.
running() {
  local pid
  pid=$(sed -n 's/.*"pid"[: ]*\([0-9]*\).*/\1/p' "$data/server.json" 2>/dev/null | head -n 1)
  [ -n "$pid" ] && ps -p "$pid" -o comm= 2>/dev/null | grep -q mailserver && echo "$pid"
}

if pid=$(running); then
  echo "A server runs already on $data (process $pid): $(cat "$data/server.url")"
  say_next
  echo "To stop it: kill $pid"
  exit 0
fi

# Passes the server's lines on; its first line says that it is ready.
relay() {
  local line first=yes
  while IFS= read -r line; do
    printf '%s\n' "$line"
    if [ "$first" = yes ]; then
      say_next
      echo 'To stop the server: Ctrl-C here.'
      first=no
    fi
  done
}

trap 'kill -TERM "$server" 2>/dev/null || true' INT TERM HUP
"$bin/mailserver" run --data-dir "$data" "$@" > >(trap '' INT; relay) &
server=$!
status=0
while true; do
  status=0
  wait "$server" || status=$?
  kill -0 "$server" 2>/dev/null || break
done
if [ "$status" = 73 ] || [ "$status" = 69 ]; then
  echo "Flags go into ARGS, for example: make run ARGS='--bind tcp://127.0.0.1:6570 --live-bind tcp://127.0.0.1:6571'" >&2
fi
exit "$status"
