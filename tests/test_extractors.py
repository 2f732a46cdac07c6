import numpy as np
import pytest
import torch

from config import EXTRACTORS, OWN_MAPS
from conftest import SMALL, run
from wsol import build_model
from wsol.extractors import EXTRACTORS as IMPLEMENTED
from wsol.extractors import ExtractedMaps

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([1, 4])


def test_every_choice_is_implemented():
    assert set(EXTRACTORS) == {OWN_MAPS, *IMPLEMENTED}


@pytest.mark.parametrize("architecture", ["resnet18", "vgg16", "timm:vit_tiny_patch16_224"])
@pytest.mark.parametrize("extractor", ["gradcam", "gradcam++", "xgradcam", "layercam"])
def test_maps_of_the_last_features(architecture, extractor):
    torch.manual_seed(0)
    model = build_model(architecture, "cam", 5).eval()
    mapper = ExtractedMaps(model, extractor).eval()
    with torch.inference_mode():  # as inference.py runs it
        outputs = mapper(IMAGES.clone(), LABELS)
        maps = mapper.raw_maps(outputs, LABELS)
        own = model.score_maps(IMAGES, LABELS)
    assert maps.shape == own.shape and bool(torch.isfinite(maps).all()) and float(maps.min()) >= 0
    assert torch.equal(outputs["logits"], model(IMAGES)["logits"])


def test_gradcam_of_a_linear_classifier_is_cams_positive_part():
    torch.manual_seed(0)
    model = build_model("resnet18", "cam", 5).eval()
    mapper = ExtractedMaps(model, "gradcam").eval()
    maps = mapper.raw_maps(mapper(IMAGES, LABELS), LABELS)
    own = model.score_maps(IMAGES, LABELS).clamp(min=0)
    # Grad-CAM's weights are the classifier's over the number of positions; CAM's map is a mean over channels.
    torch.testing.assert_close(maps, own * 512 / own[0].numel(), rtol=1e-4, atol=1e-6)


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
    assert "not in the val split" in run("inference.py", *options, "--scoremap_root", "z", cwd=workspace, code=2)
