"""Inception-v3 is torchvision's up to Mixed_6e, with padding that keeps the map's size."""

import pytest
import torch
from torchvision.models.inception import InceptionB

from samples import generator, noise
from wsol.networks.backbone import BRANCHED, POOLED
from wsol.networks.inception import PaddedReduction, inception_v3


def test_every_second_value_of_the_padded_reduction_is_the_originals():
    padded, original = PaddedReduction(288).eval(), InceptionB(288).eval()
    original.load_state_dict(padded.state_dict())
    x = torch.randn(2, 288, 9, 11, generator=generator())
    with torch.no_grad():
        got = padded(x)
        assert got.shape == (2, 288 + 480, 9, 11)
        torch.testing.assert_close(got[:, :, 1:-1:2, 1:-1:2], original(x))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("trunk", [POOLED, BRANCHED])
def test_both_trunks_have_the_features_that_they_offer(trunk, large):
    backbone = inception_v3(trunk, large, False, None).eval()
    side = 8 if large else 4
    assert backbone(noise(64, 64, batch=1)).shape == (1, backbone.offer.num_features, side, side)
    assert hasattr(backbone, "extra") == (trunk == POOLED)
