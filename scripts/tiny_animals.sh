#!/usr/bin/env bash
# The granularity study on TinyAnimals: CAM and CutMix at all four levels; val chooses the learning rate, then three seeds.
#
#   python dataset/prepare.py TinyAnimals --archive tiny-imagenet-200.zip
#   WEIGHTS=efficientnet-lite0.pth bash scripts/tiny_animals.sh [main.py options]
#
# Runs, tables, figures and a report go to train_log/tiny_animals/. When called again, finished runs are skipped. PYTHON sets
# the interpreter.
set -euo pipefail
source "$(dirname "$0")/help.sh"
source "$(dirname "$0")/step.sh"
here=$(dirname "$0")
python=${PYTHON:-python}
[ -z "${WEIGHTS:-}" ] || set -- --pretrained_path "$WEIGHTS" "$@"
step "$python" "$here/sweep.py" "$here/experiments/tiny_animals.yaml" "$@"
summarise tiny_animals
