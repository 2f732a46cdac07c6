"""Networks of which nothing, or only the last blocks, is trained: gradients, statistics, and the bits of features."""

import copy

import pytest
import torch
from torch import nn

from wsol import build_model
from wsol.core.errors import OptionError
from wsol.networks.frozen import count_parameters

NETWORKS = ["resnet18", "vgg16", "inception_v3", "timm:tf_efficientnet_lite0", "timm:test_vit"]
IMAGES, LABELS = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1])


def built(name, method="cam", **options):
    torch.manual_seed(0)
    return build_model(name, method, 3, **options).to(memory_format=torch.channels_last)


def own_state(model):
    """What the network itself holds: new stages, which no weights have, are trained."""
    new = tuple(f"{name}." for name in model.backbone.offer.new_stages)
    return {name: v.clone() for name, v in model.backbone.state_dict().items() if not (new and name.startswith(new))}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_frozen_network_does_not_change_by_a_bit_while_all_else_learns(name):
    model = built(name, freeze_backbone=True).train()
    before, others = own_state(model), {key: value.clone() for key, value in model.classifier.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameter_groups(0.1, 1.0), momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        model.training_step(IMAGES, LABELS)[1].backward()
        optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in own_state(model).items())
    assert not torch.equal(model.classifier.weight, others["weight"])
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    allowed = ("classifier.", *(f"backbone.{stage}." for stage in model.backbone.offer.new_stages))
    assert all(name.startswith(allowed) for name in trained)
    given = sum(len(group["params"]) for group in optimizer.param_groups)
    assert given == len(trained) and all(parameter.grad is not None for parameter in trained_of(model))


def trained_of(model):
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def test_new_layers_train_on_a_frozen_network_and_drop_as_ever():
    model = built("inception_v3", freeze_backbone=True).train()
    assert all(parameter.requires_grad for parameter in model.backbone.extra.parameters())
    assert model.backbone.extra[0].training and not model.backbone.Mixed_6e.training
    assert not model.eval().backbone.extra[0].training


@pytest.mark.parametrize("name", ["resnet18", "timm:tf_efficientnet_lite0", "timm:test_vit"])
def test_features_of_an_image_have_the_same_bits_in_any_batch(name):
    model = built(name, freeze_backbone=True).train()
    whole = model.backbone(IMAGES)
    alone = torch.cat([model.backbone(IMAGES[[number]]) for number in (2, 0, 1)])[[1, 2, 0]]
    assert torch.equal(whole, alone) and not whole.requires_grad
    plain = built(name).eval()
    with torch.no_grad():
        torch.testing.assert_close(whole, plain.backbone(IMAGES), rtol=1e-4, atol=1e-4)
    with torch.inference_mode():
        assert torch.equal(whole, model.eval().backbone(IMAGES))


@pytest.mark.parametrize("method", ["cam", "acol", "spg", "has", "cutmix", "tri_region"])
def test_methods_train_on_a_frozen_network(method):
    model = built("resnet18", method, freeze_backbone=True).train()
    model.training_step(IMAGES, LABELS)[1].backward()
    assert all(parameter.grad is not None for parameter in trained_of(model))
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    assert model.eval().score_maps(IMAGES, LABELS).shape == (3, 4, 4)


def test_a_frozen_spg_sees_its_side_points_for_every_image():
    """Its side branches hang on hooks inside the network, which then sees the batch as a whole."""
    frozen, plain = built("resnet18", "spg", freeze_backbone=True).eval(), built("resnet18", "spg").eval()
    for name, value in frozen(IMAGES).items():
        torch.testing.assert_close(value, plain(IMAGES)[name])


BLOCKS = {"resnet18": 5, "vgg16": 5, "inception_v3": 13, "timm:tf_efficientnet_lite0": 8, "timm:test_vit": 7}


@pytest.mark.parametrize("name", NETWORKS)
def test_all_blocks_are_the_whole_network_and_one_more_is_refused(name):
    blocks = built(name).backbone.blocks()
    assert len(blocks) == BLOCKS[name]
    model = built(name, train_last_blocks=len(blocks)).train()
    assert count_parameters(model) == count_parameters(built(name))
    with pytest.raises(OptionError, match=rf"the network has {len(blocks)} blocks"):
        built(name, train_last_blocks=len(blocks) + 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_last_blocks_learn_and_what_precedes_keeps_its_statistics(name):
    model = built(name, train_last_blocks=2).train()
    last = tuple(name for block in model.backbone.blocks()[-2:] for name in block)
    before = own_state(model)
    optimizer = torch.optim.SGD(model.parameter_groups(0.1, 1.0))
    model.training_step(IMAGES, LABELS)[1].backward()
    optimizer.step()
    changed = {key for key, value in own_state(model).items() if not torch.equal(value, before[key])}
    # A batch norm's statistics have the name of its parameters, apart from the last word.
    modules = {one.rpartition(".")[0] for one in last} if name.startswith("timm:") else set(last)
    owners = tuple(f"{module}." for module in modules if module)
    assert changed and all(key in last or key.startswith(owners) for key in changed)
    moving = {name for name, one in model.backbone.named_parameters() if moved(one)}
    assert changed >= moving & before.keys()


def moved(parameter):
    return parameter.grad is not None and bool((parameter.grad != 0).any())


def test_a_copy_stays_frozen():
    model = copy.deepcopy(built("resnet18", freeze_backbone=True)).train()
    assert not any(module.training for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d))
    assert count_parameters(model)[0] == 3 * 513


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"wsol_method": "adl", "freeze_backbone": True}, "acts inside the network"),
        ({"wsol_method": "cam", "freeze_backbone": True, "train_last_blocks": 1}, "not together with"),
        ({"wsol_method": "cam", "train_last_blocks": 0}, "expected 1 to that many"),
        ({"wsol_method": "cam", "preprocessing": "vgg"}, "expected one of imagenet, network"),
    ],
)
def test_what_cannot_be_frozen_is_refused(options, words):
    with pytest.raises(OptionError, match=words):
        build_model("resnet18", num_classes=3, **options)


def test_adl_trains_in_the_last_blocks():
    model = built("resnet18", "adl", train_last_blocks=1).train()
    model.training_step(IMAGES, LABELS)[1].backward()
    assert all(moved(parameter) for parameter in model.backbone.layer4[0].conv1.parameters())


@pytest.mark.parametrize(
    ("name", "own"), [("resnet18", (0.485, 0.456, 0.406)), ("timm:vit_tiny_patch16_224", (0.5, 0.5, 0.5))]
)
def test_preprocessing_is_imagenets_unless_the_networks_own_is_asked_for(name, own):
    assert built(name).backbone.offer.preprocessing.mean == (0.485, 0.456, 0.406)
    assert built(name, preprocessing="network").backbone.offer.preprocessing.mean == own
