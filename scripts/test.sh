#!/usr/bin/env bash
# Sets up if needed, then runs all tests that this machine can run. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
# Programs that tests drive: a browser for the report, recordings and a voice that we did not make,
# a reader of shell scripts.
declare -A packages=([chromium]=chromium [aplay]=alsa-utils [espeak-ng]=espeak-ng
    [shellcheck]=shellcheck)
missing=()
for program in "${!packages[@]}"; do
    command -v "$program" >/dev/null || missing+=("${packages[$program]}")
done
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "test: install ${missing[*]} first (apt-get install ${missing[*]})" >&2
        exit 1
    fi
    echo "test: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
export PATH=${VIRTUAL_ENV:-$PWD/.venv}/bin:$PATH
exec python -m pytest "$@"
