#!/usr/bin/env bash
# Sets up everything the project needs, in the virtual environment that is active or else in .venv/.
# Quick when nothing has changed. Prints one line a step; details go to a log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf 'setup: %s\n' "$*"; }
fail() {
    say "$*" >&2
    exit 1
}
step() { # step DESCRIPTION COMMAND...
    say "$1"
    if ! "${@:2}" >>"$log" 2>&1; then
        tail -n 25 "$log" >&2
        fail "failed at: $1 (whole log: $log)"
    fi
}
is_supported() { # is_supported PYTHON
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
}
find_python() {
    local candidate
    for candidate in python3.11 python3.12 python3.13 python3; do
        if is_supported "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 to 3.13 with venv found; install one (Debian: apt-get install python3-venv)"
}
has_gpu() { [ -e /dev/nvidia0 ] || nvidia-smi >/dev/null 2>&1; }

# What set-up depends on, in one hash: the environment keeps that of its last success.
environment=${VIRTUAL_ENV:-$PWD/.venv}
python=$environment/bin/python
stamp=$environment/.keomni_rl-setup
extra=cpu
if has_gpu; then extra=gpu; fi
wanted() {
    { cat pyproject.toml scripts/setup.sh scripts/torchvision_remedy.py && "$python" -V &&
        echo "$PWD $extra"; } | sha256sum
}
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted)" ]; then exit 0; fi

SECONDS=0
log=$(mktemp "${TMPDIR:-/tmp}/keomni_rl-setup.XXXXXX")
if [ ! -x "$python" ]; then
    if [ -n "${VIRTUAL_ENV:-}" ]; then
        fail "VIRTUAL_ENV=$VIRTUAL_ENV holds no bin/python; activate another environment or unset it"
    fi
    base=$(find_python)
    step "making .venv with $("$base" -V)" "$base" -m venv "$environment"
fi
if ! is_supported "$python"; then
    fail "$("$python" -V) in $environment; 3.11 to 3.13 is needed: deactivate that environment"
fi
if ! "$python" -m pip --version >/dev/null 2>&1; then
    step "adding pip to $environment" "$python" -m ensurepip
fi
export PATH=$environment/bin:$PATH
rm -f "$stamp"

# DeepSpeed's collectives for CPU and torch.compile are built on the machine that runs them.
if ! command -v "${CXX:-c++}" >/dev/null; then
    fail "no C++ compiler found; install one (Debian: apt-get install g++)"
fi
if [ ! -f "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then
    fail "Python's headers are missing; install them (Debian: apt-get install python3-dev)"
fi

# torch first and alone. Without a GPU it has to be the CPU build, which no requirement can say for
# every machine: the plain version is on many indexes a CUDA build of gigabytes.
version=$(sed -n 's/.*"torch==\([0-9.]*\)".*/\1/p' pyproject.toml)
torch=torch==$version
if [ "$extra" = cpu ]; then torch=$torch+cpu; fi
installed=$("$python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null || true)
case $extra:$installed in
    cpu:"$version"+cpu | gpu:"$version" | gpu:"$version"+cu*) ;;
    gpu:*) step "installing $torch" "$python" -m pip install "$torch" ;;
    cpu:*)
        if "$python" -m pip install --dry-run --ignore-installed --no-deps "$torch" >>"$log" 2>&1; then
            step "installing $torch" "$python" -m pip install "$torch"
        else
            step "installing $torch from PyTorch's own index: pip's has no CPU build of it" \
                "$python" -m pip install "$torch" torchvision --index-url https://download.pytorch.org/whl/cpu
        fi
        ;;
esac
step "installing vLLM, DeepSpeed, Ray and the rest (a few minutes the first time)" \
    "$python" -m pip install -e ".[$extra,dev]"

# Builds for CUDA do not load beside a CPU torch; transformers would import these two, nothing needs them.
for package in torchaudio torchcodec; do
    if "$python" -m pip show --quiet "$package" 2>/dev/null && ! "$python" -c "import $package" >>"$log" 2>&1; then
        step "removing $package, which does not load beside this torch" "$python" -m pip uninstall --yes "$package"
    fi
done
# torchvision is needed, its compiled operators are not: scripts/torchvision_remedy.py.
remedy=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/keomni_rl_torchvision_remedy
rm -f "$remedy.pth" "$remedy.py"
trouble=$("$python" -c 'import torchvision' 2>&1 || true)
if [[ $extra = cpu && $trouble = *"torchvision::nms does not exist"* ]]; then
    say "letting torchvision load beside a CPU torch"
    cp scripts/torchvision_remedy.py "$remedy.py"
    echo 'import keomni_rl_torchvision_remedy' >"$remedy.pth"
fi
step "checking that the engines load" "$python" -c 'import torchvision, vllm, deepspeed, transformers, ray'
if [ "$extra" = gpu ]; then
    step "checking that torch sees the GPU" "$python" -c 'import torch; torch.ones(1, device="cuda")'
else
    step "compiling DeepSpeed's collectives for this CPU" env DS_ACCELERATOR=cpu TORCH_EXTENSIONS_DIR="$environment/torch_extensions" "$python" -c \
        'from deepspeed.ops.op_builder.cpu.comm import ShareMemCommBuilder; ShareMemCommBuilder().load()'
fi
wanted >"$stamp"
rm -f "$log"
say "done in ${SECONDS} s"
