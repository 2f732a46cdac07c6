"""The Center baseline beside a run: on the images that the run scored, with maps of its size. It needs the metadata alone.

In: a run's options and image ids. Out: results, as of a run.
"""

from collections.abc import Mapping, Sequence

from wsol.data.truth import SplitTruth
from wsol.metrics.scoring import Center, count
from wsol.metrics.split_evaluator import SplitEvaluator
from wsol.runs.results import SplitResults, split_results


def center_results(config: Mapping, split: str, image_ids: Sequence[str]) -> SplitResults:
    """Return the Center baseline's results on the images that a run scored, with maps of its size."""
    evaluator = SplitEvaluator.of(config, SplitTruth.of(config, split, image_ids))
    count(Center(config["crop_size"]), evaluator)
    return split_results(evaluator.results(), split, f"Center: {split}")
