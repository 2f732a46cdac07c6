"""The test split of a finished run: evaluated later, from its checkpoint, as main.py would have done at the end.

In: a run's folder with results of val alone. Out: `test` in its results.json, and the files of that split beside it.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import torch

from wsol.core.errors import InputError
from wsol.core.files import write_json
from wsol.metrics.images_file import images_name, write_images
from wsol.runs.final_evaluation import analysis_threshold, evaluate_predictor, stop_at_bad_images, write_tables
from wsol.runs.level_results import add_split, level_folder, restore_level, shown_of
from wsol.runs.predictor import Predictor
from wsol.runs.results import read_run
from wsol.runs.run_folder import LEVELS, RESULTS

TEST = "test"
logger = logging.getLogger("wsol")


def chosen_checkpoint(run: Path) -> Path:
    """Return the checkpoint, the last or the best one, on which a finished run reports.

    Raises:
        InputError: the run is not finished, or its results do not say.
    """
    kind = (read_run(run).content.get("checkpoint") or {}).get("type")
    if kind not in ("last", "best"):
        raise InputError(f"{run / RESULTS}: checkpoint.type is {kind!r}; expected last or best")
    return run / f"{kind}_checkpoint.pth.tar"


def require_unopened(run: Path) -> None:
    """Raise InputError if a run is not finished, or has results of test."""
    if TEST in read_run(run).splits:
        raise InputError(f"{run / RESULTS}: has results of {TEST} already; expected a run with those of val alone")


def open_test(run: Path, predictor: Predictor, device: torch.device, workers: int) -> None:
    """Evaluate a finished run's model, restored from its chosen checkpoint, on test; add the results to the run's.

    On a CPU they are those of main.py, byte for byte, with as many threads as the run had (the caller sets them).
    """

    def skip(messages: list[str]) -> None:
        for message in messages[len(seen) :]:
            logger.warning("skipped: %s", message)
        seen[:] = messages

    seen: list[str] = []
    on_bad = skip if predictor.config.get("on_bad_image") == "skip" else stop_at_bad_images
    figures, evaluator = evaluate_predictor(predictor, TEST, device, workers, on_bad)
    write_images(run / images_name(TEST), evaluator, analysis_threshold(predictor.thresholds))
    write_tables(run, evaluator, predictor.config.metadata_root, predictor.thresholds)
    before = dict(read_run(run).content)
    before.pop(LEVELS, None)
    content = {**before, TEST: figures}
    if predictor.together:
        content[LEVELS] = {
            one.level: _open_level(run, predictor, one.level, device, workers, on_bad) for one in predictor.together
        }
    write_json(run / RESULTS, content)  # last: with it the run counts as evaluated


def _open_level(
    run: Path,
    predictor: Predictor,
    level: str,
    device: torch.device,
    workers: int,
    on_bad: Callable[[list[str]], None],
) -> dict:
    """Evaluate one of several levels that were learned at once; return what the run's results.json says of it."""
    one = restore_level(predictor.path, level)
    one.config = predictor.config
    before = read_run(level_folder(run, level))
    one.thresholds = before.split("val").best_threshold if "val" in before.splits else None
    _, evaluator = evaluate_predictor(one, TEST, device, workers, on_bad)
    return shown_of(add_split(run, one, before.content["checkpoint"]["type"], TEST, evaluator))
