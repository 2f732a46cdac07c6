#!/usr/bin/env bash
# Demo on built-in data: trains CAM on Toy at every label level. Takes three to seven minutes on two cores once installed.
# Options are passed to main.py, as in: bash scripts/demo.sh --name longer_demo --epochs 8
set -euo pipefail
source "$(dirname "$0")/help.sh"
source "$(dirname "$0")/environment.sh"
[[ "${1:-}" == --name ]] || set -- --name demo "$@"
PYTHON=python bash scripts/sweep_granularity.sh Toy "$@"
