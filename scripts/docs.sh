#!/usr/bin/env bash
# Builds the documentation into site/: open site/index.html, no network needed. A broken link or a
# missing reference fails. Arguments go to mkdocs (`--site-dir DIR`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
export PATH=${VIRTUAL_ENV:-$PWD/.venv}/bin:$PATH NO_MKDOCS_2_WARNING=1
mkdocs build --config-file .mkdocs.yml "$@"
