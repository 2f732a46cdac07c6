#!/usr/bin/env bash
# All tests, the slow ones too, and the examples in docstrings, in a process for each core. Options go to pytest, as in: bash scripts/test.sh -m "not slow"
set -euo pipefail
source "$(dirname "$0")/help.sh"
source "$(dirname "$0")/environment.sh"
python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile "$@"
