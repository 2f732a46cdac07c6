"""VGG-16 is torchvision's, with three kinds of last layers."""

import pytest
import torch
import torchvision

from samples import noise
from wsol.networks.backbone import BRANCHED, GUIDED, POOLED
from wsol.networks.vgg import vgg16


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("trunk", [POOLED, BRANCHED, GUIDED])
def test_every_trunk_has_the_features_that_it_offers(trunk, large):
    backbone = vgg16(trunk, large, False, None).eval()
    side = 8 if large else 4
    assert backbone(noise(64, 64, batch=1)).shape == (1, backbone.offer.num_features, side, side)
    offer = backbone.offer
    for name in (*offer.fast_stages, *offer.attention_points, *(name for name, _ in offer.side_points)):
        backbone.get_submodule(name)


def test_up_to_its_last_pool_the_pooled_trunk_is_torchvisions():
    backbone = vgg16(POOLED, False, False, None).eval()
    original = torchvision.models.vgg16(weights=None).features[:30]
    original.load_state_dict(backbone.features.state_dict())
    x = noise(64, 64, batch=1)
    torch.testing.assert_close(backbone.features(x), original(x))
