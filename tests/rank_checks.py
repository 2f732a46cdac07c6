"""What two processes check together, started by tests/runs/test_distributed.py with torchrun: python rank_checks.py OUTPUT.

Every process has the whole batch too, and computes what a single process would.
"""

import copy
import json
import sys
from pathlib import Path

import torch
from torch import distributed

from samples import OF_LABELS
from wsol import build_model
from wsol.data.batches import Batch, shares
from wsol.methods.draws import DrawSource
from wsol.networks import ranks
from wsol.networks.shares import SharedDropout, gather_rows, spread_over
from wsol.runs.train_state import TrainState
from wsol.runs.training import TrainingStep, blank_batch, start_training

SIDE, CLASSES = 32, 3
OPTIONS = {"has": {"has_grid_size": 16}}


def whole_batch(images, step=0):
    rng = torch.Generator().manual_seed(step)
    masks = (torch.rand(images, SIDE, SIDE, generator=rng) < 0.4).to(torch.uint8)
    masks[0] = 255  # an image that does not count for FSL-Seg
    pixels = torch.randn(images, 3, SIDE, SIDE, generator=rng).double()
    labels = torch.randint(CLASSES, (images,), generator=rng)
    return Batch(pixels, labels, [str(one) for one in range(images)], [], range(images), masks=masks)


def own_part(batch):
    parts = shares(len(batch.labels), ranks.size())
    first, last = sum(parts[: ranks.rank()]), sum(parts[: ranks.rank() + 1])
    if first == last:
        blank = blank_batch(2, SIDE, batch.labels.shape[1:])
        return blank._replace(images=blank.images.double(), image_ids=[]), parts
    rows = slice(first, last)
    cut = batch._replace(images=batch.images[rows], labels=batch.labels[rows], masks=batch.masks[rows])
    return cut._replace(image_ids=batch.image_ids[rows], positions=batch.positions[rows]), parts


def backward(step, model, batch, number=0):
    source = DrawSource(0, 1, number, batch.positions)
    draws = model.draw(source, (SIDE, SIDE))
    source.seed_torch()
    outputs, loss = step(batch, draws)
    loss.backward()
    return outputs, loss.detach()


def gradients(model):
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def farthest(found, expected):
    """Return the largest difference, in units of each tensor's largest value."""
    assert found.keys() == expected.keys()
    with torch.no_grad():
        return max(float((found[name] - one).abs().max() / one.abs().max()) for name, one in expected.items())


# A tri-region head's batch normalisation, as any network's, has each process's own statistics.
ON_ANY_PART = [name for name in OF_LABELS if name != "tri_region"]


def at_two_levels(batch):
    """The batch with labels at two levels; the first and the last image have no class at the second."""
    labels = torch.stack([batch.labels, batch.labels % 2], dim=1)
    labels[[0, -1], 1] = -1
    return batch._replace(labels=labels)


def check_gradients(method, levels=()):
    """A step's gradient is that of the whole batch: three images on two processes, and one image on one of them."""
    torch.manual_seed(0)
    classes = 1 if method == "fsl_seg" else sum(levels) or CLASSES
    model = build_model("vgg16", method, classes, level_sizes=levels, **OPTIONS.get(method, {})).double().train()
    if levels:
        model.learn_from([False, True])
    spread = ranks.spread(TrainingStep(model), unused=False, sync_batchnorm=False)
    worst: dict[int, list[float]] = {}
    for images in (3, 1):
        batch = whole_batch(images)
        if images == 1:
            batch = batch._replace(masks=whole_batch(2).masks[1:])
        if levels:
            batch = at_two_levels(batch)
        model.zero_grad()
        _, expected = backward(TrainingStep(model), model, batch)
        whole = {name: gradient.clone() for name, gradient in gradients(model).items()}
        model.zero_grad()
        own, parts = own_part(batch)
        with spread_over(parts):
            _, loss = backward(spread, model, own)
        total = ranks.summed(loss) / ranks.size()
        worst[images] = [farthest(gradients(model), whole), abs(float(total - expected))]
    return worst


def check_three_steps():
    """The weights after three steps, the last one uneven, and the epoch's loss and accuracy."""
    torch.manual_seed(0)
    config = {"lr": 0.01, "lr_classifier_ratio": 10.0, "momentum": 0.9, "weight_decay": 1e-4, "amp": "off"}
    alone = build_model("timm:test_efficientnet_gn", "cutmix", CLASSES).double().train()
    together = copy.deepcopy(alone)
    spread = ranks.spread(TrainingStep(together), unused=False, sync_batchnorm=False)
    cpu = torch.device("cpu")
    first, second = start_training(alone, config, cpu), start_training(together, config, cpu)
    single = TrainState(None, None, torch.zeros(2, dtype=torch.float64))
    for number, images in enumerate((4, 4, 1)):
        batch = whole_batch(images, number)
        first.optimizer.zero_grad()
        outputs, loss = backward(TrainingStep(alone), alone, batch, number)
        first.optimizer.step()
        single.epoch_sums += torch.stack([loss * images, (outputs["logits"].argmax(1) == batch.labels).sum().double()])
        second.optimizer.zero_grad()
        own, parts = own_part(batch)
        with spread_over(parts):
            outputs, loss = backward(spread, together, own, number)
        second.optimizer.step()
        right = (outputs["logits"].argmax(1) == own.labels)[: len(own.image_ids)].sum()
        second.count(loss, right, images)
    weights = farthest(dict(together.named_parameters()), dict(alone.named_parameters()))
    sums = ranks.summed(second.epoch_sums)
    return [weights, float((sums - single.epoch_sums).abs().max()), second.epoch_images]


def check_dropout():
    """The mask is that of the whole batch, also in another memory layout; a stand-in takes any rows."""
    dropout = SharedDropout(0.5).train()
    equal = []
    for values in (torch.rand(5, 4), torch.rand(5, 4, 3, 3).contiguous(memory_format=torch.channels_last), torch.rand(1, 4)):
        distributed.broadcast(values, src=0)
        torch.manual_seed(3)
        expected = dropout(values)
        parts = shares(len(values), ranks.size())
        first = sum(parts[: ranks.rank()])
        own = values[first : first + parts[ranks.rank()]]
        torch.manual_seed(3)
        with spread_over(parts):
            if len(own):
                equal.append(torch.equal(dropout(own), expected[first : first + len(own)]))
            else:
                equal.append(dropout(torch.rand(2, 4)).shape == (2, 4))
            equal.append(torch.equal(gather_rows(own if len(own) else torch.rand(2, 4)), values))
    return equal


def main():
    """Write what this process found to OUTPUT.rank."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with ranks.running("cpu"):
        found = {
            "place": ranks.place(),
            "gradients": {
                **{method: check_gradients(method) for method in [*ON_ANY_PART, "fsl_seg"]},
                **{f"{method} at levels": check_gradients(method, (CLASSES, 2)) for method in ("cutmix", "acol")},
            },
            "steps": check_three_steps(),
            "dropout": check_dropout(),
            "numbers": ranks.gather_numbers([ranks.rank(), 7]),
            "values": [ranks.gather(f"of {ranks.rank()}"), ranks.gather_first(ranks.rank())],
        }
        Path(f"{sys.argv[1]}.{ranks.rank()}").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
