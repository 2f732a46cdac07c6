#!/usr/bin/env bash
# All tests, including the slow ones, and the examples in docstrings, in one process per core. Options are passed to pytest,
# as in: bash scripts/test.sh -m "not slow"
set -euo pipefail
source "$(dirname "$0")/help.sh"
source "$(dirname "$0")/environment.sh"
python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
