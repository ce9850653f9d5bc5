#!/usr/bin/env bash
# Sets up everything the project needs, in .venv/ or in the virtual environment that is active.
# Quick when nothing has changed. Prints one line a step; details go to a log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
log=$(mktemp -t keomni_rl-setup.XXXXXX.log)
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf 'setup: %s\n' "$*"; }
step() { # step DESCRIPTION COMMAND...
    say "$1"
    if ! "${@:2}" >>"$log" 2>&1; then
        tail -n 25 "$log" >&2
        say "failed at: $1 (whole log: $log)" >&2
        exit 1
    fi
}

find_python() {
    local candidate
    for candidate in python3.11 python3.12 python3.13 python3; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    say "no Python 3.11 to 3.13 with venv found; install one (Debian: python3.11 python3.11-venv)" >&2
    exit 1
}

environment=${VIRTUAL_ENV:-$root/.venv}
if [ ! -x "$environment/bin/python" ]; then
    base=$(find_python)
    step "making $environment with $("$base" --version)" "$base" -m venv "$environment"
fi
python=$environment/bin/python
export PATH=$environment/bin:$PATH

has_gpu=0
if [ -e /dev/nvidia0 ] || { command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; }; then has_gpu=1; fi
stamp=$environment/.keomni_rl-setup
state=$(cat pyproject.toml scripts/setup.sh scripts/torchvision_remedy.py <(echo "$root $has_gpu") | sha256sum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$state" ]; then
    exit 0
fi
rm -f "$stamp"
SECONDS=0

# torch first and alone: with everything else in one call pip would take a CUDA build of gigabytes.
torch=torch==$(sed -n 's/^cpu = .*torch==\([0-9.]*\).*/\1/p' pyproject.toml)
install_torch() {
    if [ "$has_gpu" = 1 ]; then
        pip install "$torch"
        return
    fi
    local found
    found=$(pip install --dry-run --quiet --ignore-installed --no-deps --report - "$torch" 2>/dev/null |
        "$python" -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])' || true)
    case $found in
        *+cpu) pip install "$torch" ;;
        *)
            say "pip's index has no CPU build of $torch; taking it from PyTorch's own CPU index"
            pip install "$torch" --index-url https://download.pytorch.org/whl/cpu
            ;;
    esac
}
pip() { "$python" -m pip "$@"; }
if ! "$python" -c "import sys, importlib.metadata as m; sys.exit(m.version('torch').split('+')[0] != '${torch#torch==}')" 2>/dev/null; then
    step "installing $torch" install_torch
fi
extra=cpu
[ "$has_gpu" = 1 ] && extra=gpu
step "installing vLLM, DeepSpeed, Ray and the rest (a few minutes the first time)" pip install -e ".[$extra,dev]"

# Builds for CUDA beside a CPU torch do not load; transformers would import these two, nothing needs them.
for package in torchaudio torchcodec; do
    if pip show --quiet "$package" 2>/dev/null && ! "$python" -c "import $package" >>"$log" 2>&1; then
        step "removing $package, which does not load beside this torch" pip uninstall --yes "$package"
    fi
done
if ! "$python" -c 'import torchvision' >>"$log" 2>&1; then
    site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    say "letting torchvision load beside a CPU torch"
    cp scripts/torchvision_remedy.py "$site/keomni_rl_torchvision_remedy.py"
    echo 'import keomni_rl_torchvision_remedy' >"$site/keomni_rl_torchvision_remedy.pth"
fi
step "checking that the engines load" "$python" -c 'import torchvision, vllm, deepspeed, transformers, ray'
if [ "$has_gpu" = 0 ]; then
    step "compiling DeepSpeed's collectives for this CPU" env DS_ACCELERATOR=cpu "$python" -c \
        'from deepspeed.ops.op_builder.cpu.comm import ShareMemCommBuilder; ShareMemCommBuilder().load()'
fi
echo "$state" >"$stamp"
say "done in ${SECONDS} s"
rm -f "$log"
