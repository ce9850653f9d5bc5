#!/usr/bin/env bash
# One training run as a Slurm job: a Ray cluster over all of the job's nodes, the driver on the first.
#
#   sbatch [--nodes N] cluster/slurm.sh train configs/ke_omni_r_7b.yaml \
#       configs/placement/two_nodes_16_gpus.yaml configs/cluster/shared_volume.yaml \
#       run_dir=/shared/runs/ke_omni_r_7b
#
# The arguments are those of keomni-rl; --start-or-resume is added. Submit from the checkout, which
# lies, as data and run folder do, where all nodes see it. Ten minutes before its time is over, or
# when it is preempted, the run takes a checkpoint and the job is queued again, where it goes on.
# Otherwise the job ends with the run's own exit code.
#SBATCH --job-name=keomni-rl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@600
#SBATCH --open-mode=append
#SBATCH --output=keomni-rl-%j.log
set -euo pipefail
: "${SLURM_JOB_ID:?is not set; submit this script with sbatch}"
export PATH=${VIRTUAL_ENV:-$PWD/.venv}/bin:$PATH

# A token of this job's own, handed on in the environment: it is in no file, log or command line.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN

# This script runs on the first node, which becomes the head. Its port is one that is free.
head=$SLURMD_NODENAME
ip=$(python -c 'import ray; print(ray.util.get_node_ip_address())')
port=$(python -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
export RAY_ADDRESS=$ip:$port

cluster=()
on_nodes() { # on_nodes SRUN_OPTION... ray start...: a node's part of the cluster gets the whole node
    srun --export=ALL --overlap --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_ON_NODE" \
        --cpu-bind=none --mem=0 "$@" &
    cluster+=($!)
}
trap 'kill -TERM "${cluster[@]}" 2>/dev/null; wait || true' EXIT

attended=
is_asked=false
trap 'is_asked=true broken_off=true; kill -TERM $attended 2>/dev/null || true' USR1 TERM
attend() { # attend COMMAND...: its exit code; being asked to leave, we ask it
    local code
    if $is_asked; then return 143; fi
    "$@" &
    attended=$!
    if $is_asked; then kill -TERM "$attended"; fi
    while true; do # a signal breaks off `wait`, whose code is then not the command's
        broken_off=false
        code=0
        wait "$attended" || code=$?
        if ! $broken_off; then return "$code"; fi
    done
}
has_joined() { # has_joined NODES: wait until the cluster has so many
    attend python -c '
import sys, time, ray
wanted, deadline = int(sys.argv[1]), time.monotonic() + 600
there = 0
while there < wanted:
    if time.monotonic() > deadline:
        sys.exit(f"slurm.sh: after 10 minutes {there} of {wanted} nodes have joined; see above why")
    try:
        if not ray.is_initialized():
            ray.init(logging_level="ERROR")
        there = sum(node["Alive"] for node in ray.nodes())
    except ConnectionError:
        pass
    time.sleep(1)' "$1"
}

on_nodes --nodes=1 --nodelist="$head" ray start --head --block --disable-usage-stats \
    --node-ip-address="$ip" --port="$port" --include-dashboard=false
code=0
has_joined 1 || code=$?
workers=$((SLURM_JOB_NUM_NODES - 1))
if [ "$code" = 0 ] && [ "$workers" -gt 0 ]; then
    on_nodes --nodes="$workers" --exclude="$head" ray start --block --disable-usage-stats \
        --address="$RAY_ADDRESS"
    has_joined "$SLURM_JOB_NUM_NODES" || code=$?
fi
if [ "$code" = 0 ]; then attend keomni-rl "$@" --start-or-resume || code=$?; fi

if $is_asked && [ "$code" != 0 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
