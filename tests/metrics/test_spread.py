import statistics

import pytest

from wsol.metrics.spread import (
    DEVIATION,
    INTERVAL,
    heading,
    mean_and_deviation,
    mean_and_interval,
    sample_deviation,
    student_interval,
)


def test_the_deviation_is_the_samples():
    values = [67.2, 68.0, 66.9]
    assert sample_deviation(values) == pytest.approx(statistics.stdev(values))
    assert mean_and_deviation(values) == "67.4 ± 0.6"
    assert mean_and_deviation([67.2]) == "67.2" and sample_deviation([67.2]) is None


@pytest.mark.parametrize(("count", "quantile"), [(2, 12.706), (3, 4.303), (10, 2.262), (40, 2.023)])
def test_the_interval_is_students_for_any_number_of_runs(count, quantile):
    values = [50.0 + i % 3 for i in range(count)]
    low, high = student_interval(values)
    assert high - low == pytest.approx(2 * quantile * statistics.stdev(values) / count**0.5, rel=1e-3)
    assert (high + low) / 2 == pytest.approx(statistics.mean(values))


def test_an_interval_is_written_as_one_and_a_single_run_has_none():
    assert mean_and_interval([50.0, 60.0]) == "55.0 [-8.5, 118.5]"
    assert mean_and_interval([50.0]) == "50.0" and student_interval([50.0]) is None


def test_the_heading_names_the_convention():
    assert heading([3, 3]) == "Mean ± sample standard deviation, over the runs of each row."
    assert heading([1, 2, 5], INTERVAL).endswith("Student's t, over the runs of each row.")
    assert heading([1, 1], DEVIATION) == "One run per row: no spread."
