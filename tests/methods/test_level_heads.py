"""Several levels learned at once, against models of one level with the same weights."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional

from samples import OF_LABELS
from wsol import build_model
from wsol.core.errors import InputError, OptionError
from wsol.data.batches import Batch
from wsol.data.level_set import TrainedLevel
from wsol.maps.cam_agg import AggregatedMaps
from wsol.methods.level_heads import LevelView, MeanView, level_view, level_weights

SIZES, WEIGHTS = (4, 3, 2), (1, 1, 0.5)
OWN = (0.4, 0.4, 0.2)  # the weights, in sum 1
PARENTS = ([0, 1, 2, 3], [0, 1, 1, 2], [0, 1, 1, -1])  # of the first level's classes; its last has none at the third
LABELS = torch.tensor([[0, 0, 0], [1, 1, 1], [3, 2, 0], [2, 1, 1], [3, 2, 1]])
ENDS = np.cumsum((0, *SIZES))
OF_EACH_LEVEL = [method for method in OF_LABELS if method != "acol"]  # ACoL's own attention is of the first level
SAME_SPLITS = {"has": {"has_grid_size": 16}}


def several(method, **options):
    torch.manual_seed(0)
    built = {"level_sizes": SIZES, "level_weights": WEIGHTS, **SAME_SPLITS.get(method, {}), **options}
    return build_model("resnet18", method, sum(SIZES), **built).double().train()


def single(model, method, number):
    """A model of one level with the same weights: of what has a row for each class, the rows of its own classes."""
    alone = build_model("resnet18", method, SIZES[number], **SAME_SPLITS.get(method, {})).double()
    state, rows = model.state_dict(), slice(ENDS[number], ENDS[number + 1])
    own = {name: value.shape for name, value in alone.state_dict().items()}
    alone.load_state_dict({name: value if value.shape == own[name] else value[rows] for name, value in state.items()})
    return alone.train(model.training)


def batch(images=5):
    rng = torch.Generator().manual_seed(1)
    pixels = torch.randn(images, 3, 48, 48, generator=rng).double()
    return Batch(pixels, LABELS[:images], [str(one) for one in range(images)], [], range(images))


@pytest.mark.parametrize("method", OF_EACH_LEVEL)
def test_the_loss_and_its_gradient_are_the_weighted_means_of_those_of_single_levels(method):
    model, given = several(method), batch()
    models = [single(model, method, number) for number in range(3)]
    torch.manual_seed(2)
    draws = model.draw_now(given.images)
    outputs, loss = model.training_step(given.images, given.labels, draws)
    loss.backward()
    losses = []
    for number, (alone, weight) in enumerate(zip(models, OWN, strict=True)):
        found, own = alone.training_step(given.images, given.labels[:, number], copy.deepcopy(draws))
        (weight * own).backward()
        losses.append(weight * own.detach())
        torch.testing.assert_close(outputs["logits"][:, ENDS[number] : ENDS[number + 1]], found["logits"])
    torch.testing.assert_close(loss.detach(), sum(losses))
    own = [dict(alone.named_parameters()) for alone in models]
    tolerance = {"rtol": 1e-4, "atol": 1e-6} if method == "spg" else {}  # its guided losses are float32
    for name, parameter in model.named_parameters():
        parts = [each[name].grad for each in own]
        same = parts[0].shape == parameter.shape and len({part.shape for part in parts}) == 1
        torch.testing.assert_close(parameter.grad, sum(parts) if same else torch.cat(parts), **tolerance)


def test_acol_erases_by_the_first_level_and_both_branches_learn_every_level():
    model, given = several("acol"), batch()
    outputs, loss = model.training_step(given.images, given.labels, {})
    found, _ = single(model, "acol", 0).training_step(given.images, given.labels[:, 0], {})
    torch.testing.assert_close(outputs["features_b"], found["features_b"])
    expected = 0
    for number, (start, end) in enumerate(pairwise(ENDS)):
        for name in ("logits", "logits_b"):
            own = functional.cross_entropy(outputs[name][:, start:end], given.labels[:, number])
            expected = expected + OWN[number] * own
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("method", OF_LABELS)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_level_of_the_model_is_the_model_of_that_level(method, number):
    model, given = several(method).float().eval(), batch()
    images, labels = given.images.float(), LABELS[:, number]
    view, alone = LevelView(model, number), single(model, method, number).float().eval()
    with torch.no_grad():
        for known in (labels, None):
            found, expected = view(images, known), alone(images, known)
            for name in model.class_outputs:
                assert found[name].shape == (5, SIZES[number])
                torch.testing.assert_close(found[name], expected[name])
            predicted = expected["logits"].argmax(dim=1) if known is None else known
            assert torch.equal(view.raw_maps(found, predicted), alone.raw_maps(expected, predicted))  # to the last bit
        if number == 0:
            ancestors = np.array([5, 7, 7, 5])
            maps = [AggregatedMaps(one, ancestors).raw_maps(one(images, labels), labels) for one in (view, alone)]
            torch.testing.assert_close(*maps)


@pytest.mark.parametrize("method", ["cam", "acol", "spg"])
def test_the_mean_of_the_levels_is_that_of_their_maps_scaled_to_0_and_1(method):
    model, images, labels = several(method).float().eval(), batch().images.float(), torch.tensor([0, 1, 3, 2, 3])
    with torch.no_grad():
        found = MeanView(model, PARENTS).score_maps(images, labels).numpy()
        outputs = model(images, labels)
        for image, label in enumerate(labels.tolist()):
            scaled = []
            for number, parents in enumerate(PARENTS):
                if parents[label] >= 0:
                    classes = torch.full((5,), ENDS[number] + parents[label])
                    raw = model.raw_maps(outputs, classes)[image].numpy().astype(np.float64)
                    scaled.append((raw - raw.min()) / (raw.max() - raw.min()))
            assert len(scaled) == (2 if label == 3 else 3)
            np.testing.assert_allclose(found[image], np.mean(scaled, axis=0), atol=1e-6)


@pytest.mark.parametrize("method", ["cam", "has", "cutmix", "adl", "acol"])
def test_an_image_without_a_class_has_no_part_in_that_levels_loss(method):
    model, given = several(method), batch()
    labels = given.labels.clone()
    labels[[1, 4], 1] = -1
    labels[:, 2] = -1  # no image has a class at the third level
    model.learn_from([False, True, True])
    torch.manual_seed(2)
    draws = model.draw_now(given.images)
    outputs, loss = model.training_step(given.images, labels, draws)

    def mean(name, number, labels):
        has = labels >= 0
        logits = outputs[name][:, ENDS[number] : ENDS[number + 1]]
        return functional.cross_entropy(logits[has], labels[has]) if has.any() else 0 * logits.sum()

    def one(number):
        own = [sum(mean(name, number, labels[:, number]) for name in model.class_outputs)]
        if method == "cutmix":
            from wsol.methods.cutmix import CutMixDraw, mix

            ratio = mix(given.images, CutMixDraw(**draws))[1]
            return ratio * own[0] + (1 - ratio) * mean("logits", number, labels[draws["partners"]][:, number])
        return own[0]

    torch.testing.assert_close(loss, sum(weight * one(number) for number, weight in enumerate(OWN)))
    loss.backward()
    classifier = (model.branch_a if method == "acol" else model).classifier.weight.grad
    assert not classifier[ENDS[2] :].any() and classifier[: ENDS[2]].any()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_a_loss_over_pixels_refuses_levels_that_leave_images_out():
    with pytest.raises(OptionError, match="label_level: some training images have no class at one of the levels"):
        several("spg").learn_from([False, True, False])
    several("spg").learn_from([False, False, False])


def test_a_step_gives_the_first_levels_logits_to_count():
    model, given = several("cam"), batch()
    outputs, _ = model.batch_step(given)
    assert outputs["logits"].shape == (5, 4) and model.label_shape == (3,)
    assert build_model("resnet18", "cam", 3).label_shape == ()


def test_weights_are_made_to_sum_to_one_and_are_as_many_as_levels():
    assert level_weights([3, 1], 2) == (0.75, 0.25) and level_weights(None, 4) == (0.25,) * 4
    with pytest.raises(OptionError, match="level_weights 1 2: expected 3 numbers, one for each level of label_level"):
        level_weights([1, 2], 3)


@pytest.mark.parametrize(("classes", "sizes"), [(4, [4]), (8, [4, 3])])
def test_sizes_that_do_not_fit_are_refused(classes, sizes):
    with pytest.raises(InputError, match="level_sizes"):
        build_model("resnet18", "cam", classes, level_sizes=sizes)


def test_a_view_by_the_name_of_its_level():
    levels = [TrainedLevel(name, ["a"] * size, [0] * size, p) for name, size, p in zip("abc", SIZES, PARENTS, strict=True)]
    model = several("cam")
    assert [level_view(model, levels, name).num_classes for name in (None, "a", "b", "c", "mean")] == [4, 4, 3, 2, 4]
    assert isinstance(level_view(model, levels, "mean"), MeanView)
