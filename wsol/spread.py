"""How far apart the figures of several runs lie: mean ± sample standard deviation, or Student's interval of their mean.

In: one figure of each run, in percent. Out: text of a table's cell. One run has no spread, and none is shown.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit  # Student's t quantile, by degrees of freedom and probability

LEVEL = 0.95  # of Student's intervals
DEVIATION = "mean ± sample standard deviation"
INTERVAL = f"mean [low, high]: {100 * LEVEL:.0f} % interval of the mean, Student's t"


def sample_deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation (divided by n - 1); None of fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def student_interval(values: Sequence[float]) -> list[float] | None:
    """Return [low, high], the 95 % interval of the mean by Student's t; None of fewer than two values."""
    deviation = sample_deviation(values)
    if deviation is None:
        return None
    mean = float(np.mean(values))
    half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * deviation / len(values) ** 0.5
    return [mean - half, mean + half]


def mean_and_deviation(values: Sequence[float]) -> str:
    """Return a cell such as 67.7 ± 0.4; the value alone where there is one."""
    deviation = sample_deviation(values)
    return f"{np.mean(values):.1f}" + ("" if deviation is None else f" ± {deviation:.1f}")


def mean_and_interval(values: Sequence[float]) -> str:
    """Return a cell such as 67.7 [66.6, 68.8]; the value alone where there is one."""
    found = student_interval(values)
    return f"{np.mean(values):.1f}" + ("" if found is None else f" [{found[0]:.1f}, {found[1]:.1f}]")


def heading(runs: Sequence[int], cell: str = DEVIATION) -> str:
    """Return what a table's cells are, for a line above it; `runs`: the numbers of runs of its rows."""
    if max(runs) < 2:
        return "One run a row: no spread."
    return f"{cell[0].upper()}{cell[1:]}, over the runs of each row."
