"""FSL-Det: anchors and pooling of one map, boxes out, and what learns how fast."""

import pytest
import torch
from torchvision.models.detection.image_list import ImageList

from samples import noise
from wsol import build_model
from wsol.core.errors import InputError
from wsol.data.batches import Batch
from wsol.methods.fsl_det import ANCHOR_SIZES, ASPECT_RATIOS, CHANNELS, OneLevelPool, RelativeAnchors
from wsol.runs.training import TrainingStep

TINY = "timm:test_efficientnet"
BOXES = [torch.tensor([[4.0, 6.0, 40.0, 50.0]], dtype=torch.float64), torch.zeros(0, 4, dtype=torch.float64)]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_model(TINY, "fsl_det", 1)


def batch():
    return Batch(noise(64, 64, 2), torch.tensor([3, 9]), ["a", "b"], [], (0, 1), boxes=BOXES)


def test_every_parameter_learns_also_beside_an_image_without_a_box(model):
    slow, fast = model.parameter_groups(0.01, 10)
    own = {id(value) for name, value in model.named_parameters() if not name.startswith("backbone.")}
    assert (slow["lr"], fast["lr"]) == (0.01, 0.1) and own == {id(value) for value in fast["params"]}
    outputs, loss = TrainingStep(model.train())(batch())
    assert outputs == {}
    loss.backward()
    assert all(value.grad is not None and bool(torch.isfinite(value.grad).all()) for value in model.parameters())


def test_a_step_repeats_with_torchs_seed(model):
    losses = []
    for seed in (1, 1):
        torch.manual_seed(seed)
        losses.append(TrainingStep(model.eval().train())(batch())[1].item())
    assert losses[0] == losses[1]


def test_it_gives_the_box_of_the_highest_score_inside_the_image_and_nan_without_one(model):
    images = noise(64, 96, 2)
    model.eval()
    with torch.no_grad():
        found = model(images)
        boxes, scores = found["boxes"], found["scores"]
        assert boxes.shape == (2, 4) and bool((boxes >= 0).all())
        assert bool((boxes[:, [0, 2]] <= 96).all()) and bool((boxes[:, [1, 3]] <= 64).all())
        model.heads.detections_per_img = 50
        everything, _ = model._run(images, None)
        assert [one["scores"].max().item() for one in everything] == scores.tolist()
        model.heads.score_thresh = 1.0
        assert bool(model(images)["boxes"].isnan().all())
    with pytest.raises(InputError, match="gives boxes, not score maps"):
        model.score_maps(images, torch.tensor([0, 0]))


@pytest.mark.parametrize("side", [64, 224])
def test_anchors_are_shares_of_the_image_at_every_position(side):
    images = ImageList(torch.zeros(1, 3, side, side), [(side, side)])
    generator = RelativeAnchors((ANCHOR_SIZES,), (ASPECT_RATIOS,))
    for _ in range(2):
        (anchors,) = generator(images, [torch.zeros(1, 8, 4, 4)])
    assert len(anchors) == 16 * len(ANCHOR_SIZES) * len(ASPECT_RATIOS) == 16 * generator.num_anchors_per_location()[0]
    sizes = (anchors[:, 2:] - anchors[:, :2]).prod(dim=1).sqrt() / side
    assert sizes.max().item() == pytest.approx(512 / 600, abs=2 / side)
    assert sizes.min().item() == pytest.approx(64 / 600, abs=2 / side)


@pytest.mark.parametrize("stride", [8, 14])
def test_pooling_reads_where_a_box_is_at_any_stride(stride):
    """A map whose values are its columns' positions, in pixels, gives every bin of a box its own position."""
    columns = (torch.arange(16) + 0.5) * stride
    features = {"0": columns.expand(1, CHANNELS, 16, 16).contiguous()}
    side = 16 * stride
    x0, x1 = 0.25 * side, 0.75 * side
    pooled = OneLevelPool()(features, [torch.tensor([[x0, 0.2 * side, x1, 0.9 * side]])], [(side, side)])
    expected = x0 + (torch.arange(7) + 0.5) * (x1 - x0) / 7
    torch.testing.assert_close(pooled[0, 0, 3], expected)


def test_a_batch_without_boxes_is_refused(model):
    with pytest.raises(ValueError, match="a batch without boxes"):
        model.batch_step(batch()._replace(boxes=None))
