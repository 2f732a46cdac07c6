"""The Center baseline beside a run: on the images that the run scored, with maps of its size. It needs the metadata alone.

In: a run's options and image ids. Out: results, as of a run.
"""

from collections.abc import Mapping, Sequence

from wsol.data.truth import SplitTruth
from wsol.metrics.scoring import Center, count
from wsol.metrics.split_evaluator import SplitEvaluator
from wsol.runs.results import SplitResults, split_results


def center_sets(ids: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return Center's name in a table to images: one per set of images; there are several if levels leave images out.

    `ids`: level to the images that its run scored.
    """
    sets: dict[tuple[str, ...], list[str]] = {}
    for level, image_ids in ids.items():
        sets.setdefault(tuple(image_ids), []).append(level)
    return {"Center" if len(sets) == 1 else f"Center ({', '.join(same)})": list(each) for each, same in sets.items()}


def center_results(config: Mapping, split: str, image_ids: Sequence[str]) -> SplitResults:
    """Return the Center baseline's results on the images that a run scored, with maps of its size."""
    evaluator = SplitEvaluator.of(config, SplitTruth.of(config, split, image_ids))
    count(Center(config["crop_size"]), evaluator)
    return split_results(evaluator.results(), split, f"Center: {split}")
