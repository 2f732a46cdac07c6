"""The spread of the figures of several runs: mean ± sample standard deviation, or Student's interval of their mean.

In: one figure of each run, in percent. Out: the text of a table cell. One run has no spread, so none is shown.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit  # Student's t quantile, by degrees of freedom and probability

LEVEL = 0.95  # of Student's intervals
DEVIATION = "mean ± sample standard deviation"
INTERVAL = f"mean [low, high]: {100 * LEVEL:.0f} % interval of the mean, Student's t"


def sample_deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation, the root of sum (x - mean)^2 / (n - 1); None for fewer than two values.

    >>> sample_deviation([67.0, 68.0, 69.0])
    1.0
    """
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def student_interval(values: Sequence[float]) -> list[float] | None:
    """Return [low, high], the 95 % interval of the mean by Student's t; None for fewer than two values.

    mean -+ t s / sqrt(n), s the sample deviation and t the 97.5 % quantile of Student's distribution with n - 1 degrees of
    freedom.

    >>> [round(end, 2) for end in student_interval([67.0, 68.0, 69.0])]
    [65.52, 70.48]
    """
    deviation = sample_deviation(values)
    if deviation is None:
        return None
    mean = float(np.mean(values))
    half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * deviation / len(values) ** 0.5
    return [mean - half, mean + half]


def mean_and_deviation(values: Sequence[float]) -> str:
    """Return a cell of mean and sample deviation; only the value if there is just one.

    >>> mean_and_deviation([67.3, 68.1]), mean_and_deviation([67.3])
    ('67.7 ± 0.6', '67.3')
    """
    deviation = sample_deviation(values)
    return f"{np.mean(values):.1f}" + ("" if deviation is None else f" ± {deviation:.1f}")


def mean_and_interval(values: Sequence[float]) -> str:
    """Return a cell such as 67.7 [66.6, 68.8]; only the value if there is just one."""
    found = student_interval(values)
    return f"{np.mean(values):.1f}" + ("" if found is None else f" [{found[0]:.1f}, {found[1]:.1f}]")


def heading(runs: Sequence[int], cell: str = DEVIATION) -> str:
    """Return a line that explains the cells of a table; `runs`: the number of runs of each row."""
    if max(runs) < 2:
        return "One run per row: no spread."
    return f"{cell[0].upper()}{cell[1:]}, over the runs of each row."
