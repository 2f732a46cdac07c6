"""Random draws come from where they are made: seed, epoch, and step or image."""

import numpy as np
import pytest
import torch

from wsol import build_model
from wsol.methods.draws import DrawSource

SIZE = (32, 32)
TINY = "timm:test_efficientnet"


def source(seed=0, epoch=1, step=0, positions=(5, 3, 8, 0)):
    return DrawSource(seed, epoch, step, positions)


def test_an_images_draws_do_not_depend_on_its_batch_or_step():
    model = build_model(TINY, "has", 3, has_grid_size=8)
    cells = model.draw(source(), SIZE)["hidden"]
    assert torch.equal(model.draw(source(step=7, positions=(8, 5)), SIZE)["hidden"], cells[[2, 0]])
    for other in (source(seed=1), source(epoch=2), source(positions=(6, 2, 9, 1))):
        assert not any(torch.equal(a, b) for a, b in zip(model.draw(other, SIZE)["hidden"], cells, strict=True))


@pytest.mark.parametrize("method", ["adl", "cutmix"])
def test_a_steps_draws_do_not_depend_on_the_steps_before_nor_on_which_images_it_has(method):
    model = build_model(TINY, method, 3)

    def drawn(**changes):
        draws = model.draw(source(**changes), SIZE)
        return [value.double() for value in draws.values()]

    sequence = [drawn(step=step) for step in range(40)]
    torch.rand(3)
    np.random.default_rng(0).random(3)
    for step in (39, 0, 17):
        assert all(map(torch.equal, drawn(step=step, positions=(9, 7, 6, 4)), sequence[step]))
    for changes in ({"seed": 1}, {"epoch": 2}):
        others = [drawn(step=step, **changes) for step in range(40)]
        assert not all(all(map(torch.equal, a, b)) for a, b in zip(sequence, others, strict=True))
    different = {tuple(torch.cat([value.flatten() for value in one]).tolist()) for one in sequence}
    assert len(different) >= (40 if method == "cutmix" else 4)


@pytest.mark.parametrize("number", [0, 1, 2**32, 2**63 - 1])
def test_no_two_places_see_the_same_stream(number):
    """A seed of many digits too; SeedSequence alone takes [1, 2] and [1, 2, 0] for the same."""
    places = [source(seed=number, epoch=epoch, step=step) for epoch in (1, 2) for step in (0, 1, 2)]
    numbers = [place.of_step().random() for place in places]
    images = [source(seed=number, epoch=epoch, positions=range(3)).of_images() for epoch in (1, 2)]
    numbers += [rng.random() for generators in images for rng in generators]
    numbers += [np.random.default_rng([number, epoch]).random() for epoch in (1, 2)]  # of the order of images
    assert len(set(numbers)) == 14


def test_dropout_depends_on_seed_epoch_and_step():
    def dropped(**changes):
        source(**changes).seed_torch()
        return torch.nn.functional.dropout(torch.ones(64), 0.5)

    first = dropped(step=3)
    torch.rand(5)
    assert torch.equal(dropped(step=3), first)
    for changes in ({"step": 4}, {"step": 3, "epoch": 2}, {"step": 3, "seed": 1}):
        assert not torch.equal(dropped(**changes), first)


@pytest.mark.parametrize("method", ["has", "cutmix", "adl"])
def test_a_step_outside_a_run_draws_from_torchs_own_generator(method):
    images, labels = torch.randn(4, 3, *SIZE, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    model = build_model(TINY, method, 3).train()

    def losses(seed):
        torch.manual_seed(seed)
        return [model.training_step(images, labels)[1].item() for _ in range(4)]

    assert losses(0) == losses(0) != losses(1)
    assert len(set(losses(0))) > 1
