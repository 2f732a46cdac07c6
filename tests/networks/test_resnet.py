"""ResNets are torchvision's, with other strides."""

import pytest
import torch
import torchvision

from samples import noise
from wsol.networks.backbone import BRANCHED, POOLED
from wsol.networks.resnet import resnet18, resnet50


@pytest.mark.parametrize("large", [False, True])
def test_stride_1_changes_only_where_the_values_are_taken(large):
    """Of a bottleneck every second value is the original's: the convolution with the stride precedes one of 1x1."""
    backbone = resnet50(POOLED, large, False, None).eval()
    original = torchvision.models.resnet50(weights=None).eval()
    original.load_state_dict(backbone.state_dict(), strict=False)
    x = noise(64, 64, batch=1)
    with torch.no_grad():
        for name, stage in backbone.named_children():
            if name == ("layer3" if large else "layer4"):
                got, expected = stage[0](x), getattr(original, name)[0](x)
                assert got.shape[2:] == x.shape[2:]
                torch.testing.assert_close(got[..., ::2, ::2], expected)
                break
            torch.testing.assert_close(stage(x), getattr(original, name)(x))
            x = stage(x)


def test_side_branches_get_the_channels_that_are_offered():
    backbone = resnet18(BRANCHED, False, False, None).eval()
    seen = {}
    for name, _ in backbone.offer.side_points:
        backbone.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out.shape[1]}))
    assert backbone(noise(64, 64)).shape == (3, backbone.offer.num_features, 4, 4)
    assert tuple(seen.items()) == backbone.offer.side_points
