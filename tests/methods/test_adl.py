"""ADL: attention at each position, its gradient, and how often it drops."""

import pytest
import torch

from samples import generator, noise
from wsol import build_model
from wsol.methods import adl
from wsol.methods.adl import attend
from wsol.methods.draws import DrawSource

LABELS = torch.tensor([1, 0, 3])


def attend_plainly(features, drop, threshold):
    result = features.clone()
    for i, image in enumerate(features):
        mean = image.mean(0)
        for y in range(mean.shape[0]):
            for x in range(mean.shape[1]):
                kept = float(mean[y, x] < threshold * mean.max())
                result[i, :, y, x] *= kept if drop else torch.sigmoid(mean[y, x])
    return result


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("threshold", [0.0, 0.9, 1.0])
def test_attention_is_that_of_each_position(drop, threshold):
    features = torch.rand(3, 8, 5, 6, generator=generator())
    got = attend(features, torch.tensor(drop), threshold)
    torch.testing.assert_close(got, attend_plainly(features, drop, threshold))
    if drop:
        dropped = (got == 0).all(dim=1).flatten(1).sum(1)
        assert bool((dropped == (30 if threshold == 0 else dropped.clamp(min=1))).all())  # at least each image's maximum


def test_the_gradient_goes_through_the_importance_map_and_not_through_the_mask():
    features = torch.rand(2, 4, 3, 3, generator=generator(), requires_grad=True)
    attend(features, torch.tensor(True), 0.9).sum().backward()
    kept = (attend(features, torch.tensor(True), 0.9) != 0).float()
    torch.testing.assert_close(features.grad, kept.detach())
    features.grad = None
    attend(features, torch.tensor(False), 0.9).sum().backward()
    assert not torch.allclose(features.grad, torch.sigmoid(features.mean(1, keepdim=True)).expand_as(features))


@pytest.mark.parametrize(("rate", "count"), [(0.0, 0), (1.0, 60), (0.75, 45)])
def test_a_draw_a_layer_and_pass(rate, count, monkeypatch):
    drops = []

    def record(features, drop, threshold):
        drops.append(bool(drop))
        return features

    monkeypatch.setattr(adl, "attend", record)
    model = build_model("resnet18", "adl", 4, adl_drop_rate=rate).train()
    for step in range(20):
        model.training_step(noise(32, 32), LABELS, model.draw(DrawSource(0, 1, step, (5, 3, 8)), (32, 32)))
    assert len(drops) == 60 and sum(drops) == pytest.approx(count, abs=0 if rate in (0, 1) else 10)
    if 0 < rate < 1:
        assert any(len(set(drops[i : i + 3])) == 2 for i in range(0, 60, 3))  # not one draw for all layers
    model.eval()(noise(32, 32))
    assert len(drops) == 60
    model.train()(noise(32, 32))  # without a run's draws: with some of its own
    assert len(drops) == 63
    model.eval()(noise(32, 32))
    assert len(drops) == 63
