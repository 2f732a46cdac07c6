"""SPG: guidance, against plain loops and at the extremes."""

import pytest
import torch
from torch.nn import functional

from samples import generator
from scripts.benchmark_methods import guided_loss_plainly
from wsol.methods import spg


def random_maps(kind):
    g = generator(4)
    if kind == "smooth":
        return functional.interpolate(torch.rand(4, 1, 5, 5, generator=g), (40, 40), mode="bilinear")[:, 0]
    if kind == "peaked":  # few pixels above any threshold
        maps = torch.rand(4, 40, 40, generator=g) * 0.4
        maps[:, 3, 3:9] = 0.95
        return maps
    if kind == "zero":
        return torch.zeros(4, 40, 40)
    return torch.full((4, 40, 40), 0.3)


@pytest.mark.parametrize("kind", ["smooth", "peaked", "zero", "constant"])
@pytest.mark.parametrize(("high", "low"), [(0.7, 0.01), (0.5, 0.05), (0.3, 0.3), (1.0, 0.0), (0.0, 0.0), (1.0, 1.0)])
def test_guidance_is_that_of_each_image(kind, high, low):
    logits = torch.randn(4, 40, 40, generator=generator(6))
    got = spg.guided_loss(logits, random_maps(kind), high, low)
    torch.testing.assert_close(got, guided_loss_plainly(logits, random_maps(kind), high, low), rtol=1e-5, atol=1e-7)


def test_few_pixels_fall_back_to_the_maximum_and_background_wins():
    maps = random_maps("peaked")
    foreground, kept = spg.guidance(maps, 0.7, 0.2)
    assert foreground.sum((1, 2)).tolist() == [6] * 4  # the row of 0.95, above 0.7 of it
    assert torch.equal(kept, foreground | (maps < 0.2))
    dark = maps * 0.1  # everything is below the low threshold: nothing is foreground, though some are near the maximum
    foreground, kept = spg.guidance(dark, 0.7, 0.2)
    assert not foreground.any() and bool(kept.all())


def test_nothing_kept_counts_zero_and_still_has_a_gradient():
    logits = torch.randn(1, 40, 40, generator=generator(), requires_grad=True)
    maps = torch.zeros(1, 40, 40)
    assert not any(mask.any() for mask in spg.guidance(maps, 0.5, 0.0))
    loss = spg.guided_loss(logits, maps, 0.5, 0.0)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()
