import pytest

from wsol.core import jit as compiled
from wsol.metrics import component_tree, histogram, hole_filling


@pytest.mark.parametrize(
    "function",
    [
        component_tree.best_iou_by_level,
        component_tree.largest_boxes_by_level,
        hole_filling.fill_holes,
        histogram.count_scores,
    ],
)
def test_the_evaluators_loops_leave_pythons_lock(function):
    assert function.targetoptions["nogil"] is True


def test_without_a_place_for_a_cache_functions_are_compiled_all_the_same(monkeypatch):
    njit = compiled.njit

    def without_place(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(compiled, "njit", without_place)
    assert compiled.compiled(lambda x: x + 1)(1) == 2
