#!/usr/bin/env bash
# Sets up if needed, then trains a tiny model on generated sounds: `keomni-rl demo`.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/scripts/setup.sh"
export PATH=${VIRTUAL_ENV:-$root/.venv}/bin:$PATH
exec keomni-rl demo "$@"
