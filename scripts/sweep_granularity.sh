#!/usr/bin/env bash
# One main.py run per label level of a data set, then a table of metrics per level, a plot and example maps:
#
#   bash scripts/sweep_granularity.sh DATASET [main.py options]
#
# Each run has its own folder, train_log/<experiment_name>/<level>. Finished runs are skipped when the sweep is called again.
# PYTHON sets the interpreter (default: python).
set -euo pipefail
source "$(dirname "$0")/help.sh"
source "$(dirname "$0")/step.sh"
here=$(dirname "$0")
python=${PYTHON:-python}
if [[ -z "${1:-}" || "$1" == -* ]]; then
  echo "error: expected DATASET [main.py options], with the data set first; see --help" >&2
  exit 2
fi
dataset=$1
shift

plan=$("$python" "$here/granularity.py" plan --dataset_name "$dataset" "$@")
while IFS=$'\t' read -r level experiment; do
  [ -n "$level" ] || continue
  step "$python" "$here/../main.py" --dataset_name "$dataset" "$@" \
    --label_level="$level" --experiment_name="$experiment" --override_cache
done <<< "$plan"
step "$python" "$here/granularity.py" report --dataset_name "$dataset" "$@"
