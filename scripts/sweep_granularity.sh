#!/usr/bin/env bash
# Trains at every label level of a data set, then makes tables, figures and a report in train_log/NAME/:
#
#   bash scripts/sweep_granularity.sh DATASET [--name NAME] [main.py options]
#
# NAME is DATASET_levels by default. When called again, finished runs are skipped. PYTHON sets the interpreter (default: python).
set -euo pipefail
source "$(dirname "$0")/help.sh"
source "$(dirname "$0")/step.sh"
here=$(dirname "$0")
python=${PYTHON:-python}
if [[ -z "${1:-}" || "$1" == -* ]]; then
  echo "error: expected DATASET [--name NAME] [main.py options], with the data set first; see --help" >&2
  exit 2
fi
dataset=$1 name=${1}_levels
shift
if [[ "${1:-}" == --name && -n "${2:-}" ]]; then
  name=$2
  shift 2
fi
step "$python" "$here/sweep.py" "$here/experiments/levels.yaml" --name "$name" --dataset_name "$dataset" "$@"
summarise "$name"
