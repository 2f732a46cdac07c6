#!/usr/bin/env bash
# The granularity study on TinyAnimals: CAM at all four levels with three seeds; val chooses the learning rate from three.
#
#   python dataset/prepare.py TinyAnimals --archive tiny-imagenet-200.zip
#   WEIGHTS=efficientnet-lite0.pth bash scripts/tiny_animals.sh [main.py options]
#
# Runs go to train_log/tiny_animals/. When called again, finished runs are skipped, or refused if they had other options. Seed
# 0 runs first, with every learning rate and without the test split. Then seeds 0, 1 and 2 run with each level's best rate by
# val MaxBoxAccV2. At the end, table.md, table.csv and figure.png are written there. PYTHON sets the interpreter; WEIGHTS,
# LEVELS, RATES, SEEDS, DATASET and STUDY replace the defaults below.
set -euo pipefail
source "$(dirname "$0")/help.sh"
source "$(dirname "$0")/step.sh"
here=$(dirname "$0")
python=${PYTHON:-python}
dataset=${DATASET:-TinyAnimals}
levels=${LEVELS:-category order class phylum}
rates=${RATES:-0.01 0.001 0.0001}
seeds=${SEEDS:-0 1 2}
study=${STUDY:-tiny_animals}
options=(--dataset_name "$dataset" --architecture timm:tf_efficientnet_lite0 --large_feature_map TRUE
  --resize_size 144 --crop_size 128 --batch_size 32 --epochs 3 --lr_decay_frequency 3 --save_scoremaps none)
[ -z "${WEIGHTS:-}" ] || options+=(--pretrained_path "$WEIGHTS")

for word in "$@"; do  # the last value wins, so these would apply to every run
  case ${word%%=*} in
    -h | --help)
      sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0"
      exit ;;
    --label_level | --lr | --seed | --eval_test | --coarsening | --experiment_name)
      echo "error: ${word%%=*}: the study sets it; set LEVELS, RATES, SEEDS or STUDY in the environment instead" >&2
      exit 2 ;;
  esac
done

# run EXPERIMENT OPTION...: one main.py run of the study, unless it is finished; the last options win.
run() {
  local experiment=$study/$1 state
  shift
  state=$("$python" "$here/tiny_animals.py" finished "$experiment" "${options[@]}" "$@")
  if [ "$state" = finished ]; then
    echo "$experiment: finished before, skipped"
  else
    step "$python" "$here/../main.py" "${options[@]}" --experiment_name "$experiment" --override_cache "$@"
  fi
}

for level in $levels; do
  for rate in $rates; do
    run "rates/$level/$rate" --label_level "$level" --lr "$rate" --seed 0 --eval_test FALSE "$@"
  done
  best=$("$python" "$here/tiny_animals.py" choose "train_log/$study/rates/$level" $rates)
  for seed in $seeds; do
    run "seeds/$level/$seed" --label_level "$level" --lr "$best" --seed "$seed" "$@"
  done
done
"$python" "$here/tiny_animals.py" report "train_log/$study" --levels $levels --rates $rates --seeds $seeds
