"""Queries and keys of the last block, against the attention weights that timm itself computes without fusing."""

import pytest
import timm
import torch

from wsol import build_model
from wsol.networks.last_attention import class_attention, has_class_token, last_attention, read_attention

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
# Of prefix tokens: plain, with a distillation token, with registers, with none; with rotary embeddings, some of them beside
# separate projections or biases.
NAMES = {
    "vit_tiny_patch16_224": 1,
    "deit_tiny_distilled_patch16_224": 2,
    "vit_small_patch14_reg4_dinov2": 5,
    "vit_medium_patch16_gap_256": 0,
    "eva02_tiny_patch14_224": 1,
    "vit_small_patch16_dinov3": 5,
    "vit_small_patch16_rope_224": 1,
}


def unfused(attention):
    """Have timm compute the weights itself, and return the list that they go to."""
    seen = []
    attention.fused_attn = False
    attention.attn_drop.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    return seen


def one_block(name):
    torch.manual_seed(0)
    depth = {"depth": 2}
    return build_network(name, depth)


def build_network(name, options):
    try:
        return timm.create_model(name, dynamic_img_size=True, **options)
    except TypeError:
        return timm.create_model(name, img_size=64, **options)


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_those_of_the_unfused_attention(name, monkeypatch):
    monkeypatch.setattr("wsol.networks.timm_networks._create", one_block)
    backbone = build_model(f"timm:{name}", "cam", 2).eval().backbone
    for parameter in backbone.parameters():  # biases and embeddings start at zero, where a mistake would not show
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(parameter.numel()))
    attention = last_attention(backbone)
    assert attention is backbone.network.blocks[-1].attn
    assert has_class_token(backbone) is (NAMES[name] > 0)
    weights, read = unfused(attention), []
    attention.register_forward_pre_hook(
        lambda module, arguments, named: read.append(read_attention(module, arguments, named)), with_kwargs=True
    )
    side = 56 if "patch14" in name else 64
    with torch.inference_mode():
        backbone(IMAGES[:, :, :side, :side])
    torch.testing.assert_close(class_attention(read[0]), weights[0][:, :, 0], rtol=1e-4, atol=1e-6)
    rotated = "eva02" in name or "dinov3" in name or "rope" in name
    assert torch.equal(read[0].keys, read[0].plain_keys) is not rotated
    assert read[0].keys.shape[2] == NAMES[name] + 16


@pytest.mark.parametrize("name", ["resnet18", "timm:test_efficientnet", "timm:swin_tiny_patch4_window7_224"])
def test_networks_without_such_an_attention_have_none(name):
    backbone = build_model(name, "cam", 2).backbone
    assert last_attention(backbone) is None and not has_class_token(backbone)
