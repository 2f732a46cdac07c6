"""The cost of a sweep: passes over images, operations of a network, and their sum over a plan."""

import pytest
import torch
from torch import nn

from wsol import build_model
from wsol.sweeps.cost import (
    Assumptions,
    Images,
    Operations,
    by_supervision,
    count_operations,
    passes,
    plan_cost,
    run_seconds,
)
from wsol.sweeps.plan import Plan, PlannedRun, Point
from wsol.sweeps.spec import Block, Choice, Spec, Where


def test_images_of_a_run():
    images = Images(train=1000, val=100, test=500)
    assert passes({"epochs": 2}, images, opens_test=False) == (2000, 300)  # val before the first epoch and after each
    assert passes({"epochs": 2}, images, opens_test=True) == (2000, 800)
    assert passes({"epochs": 0}, images, opens_test=True) == (0, 600)


def test_a_method_with_full_supervision_trains_on_val():
    images = Images(train=1000, val=100, test=500)
    assert by_supervision("cam", images, 0.2) == images
    assert by_supervision("fsl_seg", images, 0.2) == Images(80, 20, 500)
    assert by_supervision("fsl_det", images, 0) == Images(100, 0, 500)


def test_each_image_takes_what_is_longer_computing_or_loading():
    operations = Operations(train=30.0, forward=10.0)
    free = Assumptions(peak=100.0, utilisation=0.1, loaded=1e9, seconds_per_run=7.0)
    assert run_seconds(20, 40, operations, free) == pytest.approx(20 * 3 + 40 * 1 + 7)
    bound = Assumptions(peak=100.0, utilisation=0.1, loaded=0.5, seconds_per_run=7.0)
    assert run_seconds(20, 40, operations, bound) == pytest.approx(20 * 3 + 40 * 2 + 7)


def forward_operations(model, side):
    """Return the operations of convolutions and linear layers on one image, from the shapes of their outputs."""
    counted = []

    def count(layer, _, output):
        per_output = layer.weight[0].numel()
        counted.append(2 * per_output * output.numel())

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, side, side), torch.zeros(1, dtype=torch.int64))
    return sum(counted), counted[0]


@pytest.mark.parametrize(("method", "large"), [("cam", False), ("cam", True), ("acol", False)])
def test_operations_are_those_of_the_layers_shapes(method, large):
    state = torch.get_rng_state()
    counted = count_operations("resnet18", method, large, 32)
    assert torch.equal(torch.get_rng_state(), state)
    forward, first = forward_operations(build_model("resnet18", method, 1000, large_feature_map=large), 32)
    assert counted.forward == pytest.approx(forward, rel=0.01)  # ACoL's class maps are no layer
    # Backward, a layer's inputs and weights need a forward's operations each; the images need no gradient.
    assert counted.train == pytest.approx(3 * forward - first, rel=0.01)


def test_fsl_det_needs_more_than_its_backbone():
    detector, cam = (count_operations("resnet18", method, True, 32) for method in ("fsl_det", "cam"))
    assert detector.forward > cam.forward and detector.train > cam.train


def test_the_cost_of_a_plan_takes_the_longest_candidate_as_the_chosen_one(tmp_path):
    spec = Spec(
        path=tmp_path / "one.yaml",
        name="one",
        options={},
        cases=(),
        vary={},
        choose=Choice(grid={"epochs": (1, 3)}),
        report=(Block(seeds=(0, 1)), Block(cam_agg_levels=("order",))),
        run=Where(),
        tree={},
    )
    point = Point("cam", {}, {"wsol_method": "cam"}, "species", ("species", "order"))
    plan = Plan(spec, (point,), {}, tmp_path)
    assert all(isinstance(run, PlannedRun) for run in plan.candidates(point))
    assumed = Assumptions(peak=1.0, utilisation=1.0, loaded=1.0, seconds_per_run=0.0)
    cost = plan_cost(plan, dict, lambda _: Images(100, 10, 50), lambda _: Operations(3.0, 1.0), assumed)
    # candidates of 1 and 3 epochs; seeds 0 (the candidate of 3 epochs) and 1 with test; one run that only maps
    trained, mapped = 100 + 300 + 300, (10 * 2) + 2 * (10 * 4 + 50) + (10 + 50)
    assert (cost.runs, cost.only_mapped, cost.trained, cost.mapped) == (4, 1, trained, mapped)
    assert cost.hours == pytest.approx((3 * trained + mapped) / 3600)
