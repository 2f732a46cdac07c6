"""Extractors of torchcam against their papers' formulas, and from the command line."""

import numpy as np
import pytest
import torch

from conftest import SMALL, run
from wsol import build_model
from wsol.maps.mapper import make_mapper
from wsol.methods.method import Method
from wsol.networks.backbone import Backbone, Offer

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([1, 4])


@pytest.mark.parametrize("architecture", ["resnet18", "vgg16", "timm:vit_tiny_patch16_224"])
@pytest.mark.parametrize("extractor", ["gradcam", "gradcam++", "xgradcam", "layercam"])
def test_maps_of_the_last_features(architecture, extractor):
    torch.manual_seed(0)
    model = build_model(architecture, "cam", 5).eval()
    mapper = make_mapper(extractor, model).eval()
    with torch.inference_mode():  # as inference.py runs it
        outputs = mapper(IMAGES.clone(), LABELS)
        maps = mapper.raw_maps(outputs, LABELS)
        own = model.score_maps(IMAGES, LABELS)
    assert maps.shape == own.shape and bool(torch.isfinite(maps).all()) and float(maps.min()) >= 0
    assert torch.equal(outputs["logits"], model(IMAGES)["logits"])


def test_gradcam_of_a_linear_classifier_is_cams_positive_part():
    torch.manual_seed(0)
    model = build_model("resnet18", "cam", 5).eval()
    mapper = make_mapper("gradcam", model).eval()
    maps = mapper.raw_maps(mapper(IMAGES, LABELS), LABELS)
    own = model.score_maps(IMAGES, LABELS).clamp(min=0)
    # Grad-CAM's weights are the classifier's over the number of positions; CAM's map is a mean over channels.
    torch.testing.assert_close(maps, own * 512 / own[0].numel(), rtol=1e-4, atol=1e-6)


class _Tiny(Method):
    """One convolution, and class scores that are not linear in its features, so that no two gradients are alike."""

    def __init__(self):
        super().__init__(Backbone({"conv": torch.nn.Conv2d(3, 6, 3, stride=8), "relu": torch.nn.ReLU()}, Offer(6)), 5)
        self.scores = torch.nn.Linear(6 * 8 * 8, 5)

    def head(self, features):
        return torch.tanh(self.scores(features.flatten(1))) + features.square().mean(dim=(2, 3))[:, :5]

    def forward(self, images, labels=None):
        return {"logits": self.head(self.backbone(images))}


def _gradcam_plainly(a, g):
    return sum(g[k].mean() * a[k] for k in range(len(a)))


def _gradcampp_plainly(a, g):
    total = torch.zeros_like(a[0])
    for k in range(len(a)):
        weight = 0.0
        for gradient in g[k].flatten():
            if gradient > 0:
                weight += gradient**2 / (2 * gradient**2 + (a[k] * gradient**3).sum()) * gradient
        total += weight * a[k]
    return total


def _xgradcam_plainly(a, g):
    return sum((g[k] * a[k]).sum() / a[k].sum() * a[k] for k in range(len(a)) if a[k].sum() > 0)


def _layercam_plainly(a, g):
    return sum(g[k].clamp(min=0) * a[k] for k in range(len(a)))


@pytest.mark.parametrize(
    ("extractor", "plainly"),
    [
        ("gradcam", _gradcam_plainly),
        ("gradcam++", _gradcampp_plainly),
        ("xgradcam", _xgradcam_plainly),
        ("layercam", _layercam_plainly),
    ],
)
def test_an_extractor_is_its_papers_formula(extractor, plainly):
    torch.manual_seed(0)
    model = _Tiny().eval()
    mapper = make_mapper(extractor, model).eval()
    maps = mapper.raw_maps(mapper(IMAGES, LABELS), LABELS)
    features = model.backbone(IMAGES).detach().double().requires_grad_()
    logits = model.double().head(features)
    [gradients] = torch.autograd.grad(logits.gather(1, LABELS[:, None]).sum(), features)
    assert bool((gradients > 0).any()) and bool((gradients < 0).any())
    expected = [plainly(a, g).clamp(min=0) for a, g in zip(features.detach(), gradients, strict=True)]
    assert bool((expected[0] > 0).any())
    torch.testing.assert_close(maps, torch.stack(expected).float(), rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_scorecam_and_a_list_of_images_from_the_command_line(workspace):
    run("main.py", *SMALL, "--experiment_name", "x", "--eval_test", "f", "--save_scoremaps", "val", cwd=workspace)
    ids = (workspace / "train_log/x/val_image_ids.txt").read_text().split("\n")[:3]
    (workspace / "ids.txt").write_text("\n".join(ids) + "\n")
    options = ("--checkpoint", "train_log/x/last_checkpoint.pth.tar", "--workers", "0", "--image_list", "ids.txt")
    for extractor in ("scorecam", "layercam", "method"):
        run("inference.py", *options, "--extractor", extractor, "--scoremap_root", extractor, cwd=workspace)
        paths = sorted((workspace / extractor).rglob("*.npy"))
        assert len(paths) == 3
        assert all(np.load(path).max() == 1 for path in paths)
    own = np.load(workspace / "train_log/x/scoremaps" / f"{ids[0]}.npy")
    np.testing.assert_allclose(np.load(workspace / "method" / f"{ids[0]}.npy"), own, atol=1e-9)
    again = ("--cam_agg_level", "order", "--extractor", "gradcam", "--scoremap_root", "y")
    printed = run("inference.py", *options, *again, cwd=workspace, code=2)
    assert "--extractor gradcam: expected method with --cam_agg_level" in printed
    (workspace / "ids.txt").write_text("nothing.png\n")
    assert "ids.txt:1: 'nothing.png' is not an image of val at this level" in run(
        "inference.py", *options, "--scoremap_root", "z", cwd=workspace, code=2
    )
