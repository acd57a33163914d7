#!/usr/bin/env bash
# Plays the main job on real input (tools/demo.py): demo.sh BIN
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$here/../.venv/bin/python
[ -x "$python" ] || python=python3
exec "$python" "$here/demo.py" "$1"
