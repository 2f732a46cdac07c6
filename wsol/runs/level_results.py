"""What a run that learned several levels at once reports of each: as if each were a run of its own, in a folder below it.

In: its checkpoint, the images and truth of the splits at each level. Out: `RUN/levels/<level>/` with config.yaml,
results.json, `<split>_images.npz` and the tables of a run, and an entry of the run's own results.json.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsol.core.files import write_json, write_text
from wsol.core.flat_yaml import dumped
from wsol.data.truth import PSEUDO
from wsol.metrics.images_file import images_name, write_images
from wsol.metrics.split_evaluator import SplitEvaluator
from wsol.runs.final_evaluation import analysis_threshold, final_results, write_tables
from wsol.runs.predictor import Predictor, restore
from wsol.runs.results import read_results
from wsol.runs.resume import OF_A_CALL
from wsol.runs.run_folder import CONFIG, LEVELS, RESULTS

SHOWN = ("top1_cls", "MaxBoxAccV2", "MaxBoxAccV2_at_val_threshold", "MaxBoxAcc", "PxAP")  # in the run's own results.json


def level_folder(run: Path, level: str) -> Path:
    """Return the folder of a level's results in a run's folder.

    >>> level_folder(Path("train_log/pets"), "genus").as_posix()
    'train_log/pets/levels/genus'
    """
    return run / LEVELS / level


def restore_level(path: str | os.PathLike, level: str) -> Predictor:
    """Return the predictor of a level with its own maps, whatever the run maps by, and without thresholds of val."""
    predictor = restore(path, map_level=level)
    predictor.mapper, predictor.cam_agg_level, predictor.ancestors = predictor.model, None, None
    predictor.thresholds = None
    return predictor


def describe_results(predictor: Predictor, kind: str) -> dict[str, Any]:
    """Return what results.json says of a predictor, apart from its figures; `kind`: last or best."""
    config = predictor.config
    return {
        "dataset_name": config["dataset_name"],
        "label_level": predictor.level_name,
        "cam_agg_level": predictor.cam_agg_level,
        "cam_curve_interval": config["cam_curve_interval"],
        "num_classes": len(predictor.class_names),
        "checkpoint": {"type": kind, "epoch": predictor.epoch},
    }


def add_split(run: Path, predictor: Predictor, kind: str, split: str, evaluator: SplitEvaluator) -> dict[str, Any]:
    """Add a split's figures to the results of the level that a predictor is of; return all of these.

    The level's folder is begun anew with val, which also chooses the predictor's score-map thresholds for other splits.
    """
    folder = level_folder(run, predictor.level)
    content = {**describe_results(predictor, kind), "label_level": predictor.level}
    if split != "val" and (folder / RESULTS).is_file():
        content = dict(read_results(folder / RESULTS).content)
    if split == "val":
        predictor.thresholds = evaluator.results().get("best_threshold")
        if pseudo_hash := evaluator.truth.pseudo_hash:
            content |= {"select_on": PSEUDO, "pseudo_boxes_sha256": pseudo_hash}
    content[split] = final_results(evaluator, predictor.config, predictor.thresholds)
    folder.mkdir(parents=True, exist_ok=True)
    config = {name: value for name, value in predictor.config.items() if name not in OF_A_CALL}
    write_text(folder / CONFIG, dumped({**config, "cam_agg_level": None, "map_level": predictor.level}))
    # As in a run, whose val is scored in training, before the threshold is known.
    write_images(
        folder / images_name(split), evaluator, None if split == "val" else analysis_threshold(predictor.thresholds)
    )
    write_tables(folder, evaluator, predictor.config["metadata_root"], predictor.thresholds)
    write_json(folder / RESULTS, content)
    return content


def shown_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the run's own results.json says of a level: its number of classes, and the main figures of each split."""
    figures = {
        split: {name: content[split][name] for name in SHOWN if content[split].get(name) is not None}
        for split in ("val", "test")
        if split in content
    }
    return {"num_classes": content["num_classes"], **figures}


def lines_of(shown: Mapping[str, Any]) -> dict[str, str]:
    """Return split to a line for the log, of what `shown_of` returns."""
    return {
        split: " ".join(f"{name} {value:.2f}" for name, value in figures.items() if isinstance(value, float))
        for split, figures in shown.items()
        if isinstance(figures, Mapping)
    }
