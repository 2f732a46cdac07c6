#!/usr/bin/env bash
# One main.py run per label level of a data set, a table of level against the metrics, a plot, example maps:
#
#   bash scripts/sweep_granularity.sh DATASET [main.py options]
#
# Each run has its own folder, train_log/<experiment_name>/<level>; finished ones are skipped when called again.
# PYTHON names the interpreter (default: python).
set -euo pipefail
here=$(dirname "$0")
python=${PYTHON:-python}
case ${1:-} in -h | --help) sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0"; exit ;; esac
dataset=${1:?usage: sweep_granularity.sh DATASET [main.py options]}
shift

plan=$("$python" "$here/granularity.py" plan --dataset_name "$dataset" "$@")
while IFS=$'\t' read -r level experiment; do
  [ -n "$level" ] || continue
  "$python" "$here/../main.py" --dataset_name "$dataset" "$@" \
    --label_level="$level" --experiment_name="$experiment" --override_cache < /dev/null
done <<< "$plan"
"$python" "$here/granularity.py" report --dataset_name "$dataset" "$@"
