#!/usr/bin/env bash
# Lint, format, types, floors, and that the documentation builds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
export PATH=${VIRTUAL_ENV:-$PWD/.venv}/bin:$PATH
ruff check .
ruff format --check .
mypy
lint-imports
bash scripts/docs.sh
