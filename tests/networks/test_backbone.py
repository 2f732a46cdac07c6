"""Every kind of network offers features of the size that it should, to a method on it."""

import pytest
import torch

from wsol import build_model

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([1, 4])


@pytest.mark.parametrize(
    ("architecture", "large", "side"),
    [
        ("resnet18", False, 4),
        ("resnet18", True, 8),
        ("resnet50", False, 4),
        ("resnet50", True, 8),
        ("timm:tf_efficientnet_lite0", False, 2),
        ("timm:tf_efficientnet_lite0", True, 4),
        ("timm:resnet26d", True, 4),  # the stride is on two parallel paths, one a pool
        ("timm:vgg11", True, 4),  # the stride is a pool
        ("timm:efficientvit_b0", False, 2),  # cannot be without a pool
        ("vgg16", False, 4),
        ("vgg16", True, 8),
        ("inception_v3", False, 4),
        ("inception_v3", True, 8),
        ("timm:vit_tiny_patch16_224", False, 4),  # tokens with a prefix
    ],
)
def test_map_sizes_and_interface(architecture, large, side):
    model = build_model(architecture, "cam", 5, large_feature_map=large).eval()
    outputs = model(IMAGES, LABELS)
    assert outputs["logits"].shape == (2, 5)
    assert model.loss(outputs, LABELS).ndim == 0
    maps = model.score_maps(IMAGES, LABELS)
    assert maps.shape == (2, side, side)
    assert not maps.requires_grad
    assert torch.equal(maps, model.raw_maps(outputs, LABELS))
