#!/usr/bin/env bash
# R1-AQA's question on the tiny model: the base, supervised fine-tuning, GRPO without and with a
# think, each evaluated on the same held-out questions, side by side in one report. CPU, about half
# an hour. compare.sh [OUT] [section.key=value ...]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-runs/compare}
settings=("${@:2}")
bash "$root/scripts/setup.sh"
export PATH=${VIRTUAL_ENV:-$root/.venv}/bin:$PATH

run() { # run NAME OVERRIDE...
    if grep -qs '"event": "end"' "$out/$1/events.jsonl"; then
        echo "compare: $1 is done"
    elif [ -e "$out/$1/config.yaml" ]; then
        keomni-rl train --resume "$out/$1"
    else
        keomni-rl demo --out "$out/$1" "${@:2}" "${settings[@]}"
    fi
}
run supervised prompt.style=no_think algo.kind=supervised algo.beta=0 algo.importance_cap=null
run grpo_no_think prompt.style=no_think
run grpo_think prompt.style=think
keomni-rl report "$out"/{supervised,grpo_no_think,grpo_think} --out "$out/report.html"
