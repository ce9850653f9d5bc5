#!/usr/bin/env bash
# The demo's training under fire: processes of every role are killed and stopped at random (seeded),
# and the run must lose nothing. CPU, an hour or so. soak.sh [--steps 300] [--every-s 40] [--seed 0]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/scripts/setup.sh"
export PATH=${VIRTUAL_ENV:-$root/.venv}/bin:$PATH
cd "$root"
exec python -m tests.faults.soak "$@"
