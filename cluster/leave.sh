#!/usr/bin/env bash
# Tells the runs whose drivers are on this node to leave, as before a preemption, and waits until
# they have: each takes its last checkpoint and ends with code 143. A pod's preStop hook.
set -euo pipefail
# Not the shell that a job's command is run by: without it the job counts as over and is killed.
drivers() { pgrep -f '^[^ ]*python[^ ]* [^ ]*keomni-rl (train|evaluate) '; }

if ! drivers >/dev/null; then exit 0; fi
drivers | xargs kill -TERM || true # one may have ended by itself
while drivers >/dev/null; do sleep 1; done
sleep 10 # for the operator to read from this head that the job has failed, and is to be tried again
