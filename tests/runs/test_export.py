"""Exported models: what the file gives against the model itself, the example of docs/onnx.md, and what is refused."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from munch import Munch
from PIL import Image

from conftest import CHECKOUT, SMALL, TINY, link_toy, run
from samples import OF_LABELS, full_disk
from wsol import build_model
from wsol.core.errors import InputError
from wsol.data.preprocessing import resize
from wsol.maps.mapper import make_mapper
from wsol.maps.normalize import normalize_raw_map
from wsol.metrics.boxes import boxes_at, resize_bbox
from wsol.runs import export
from wsol.runs.export import export_onnx
from wsol.runs.export_check import MAPS_TOLERANCE, Deviations, compare
from wsol.runs.predictor import DEFAULTS, Predictor, restore

SMALLEST = "timm:test_efficientnet"
CLASSES = ["a", "b", "c", "d"]
EXAMPLE = re.search(r"## From raw maps to boxes.*?```python\n(.*?)```", (CHECKOUT / "docs/onnx.md").read_text(), re.DOTALL)[
    1
]
NO_LIBRARY = "\nassert not {'torch', 'wsol', 'PIL'} & set(sys.modules)\n"


def predictor_of(architecture=SMALLEST, method="cam", *, side=64, mapper="method", ancestors=None, large=False):
    """A model with random weights as `restore` gives it, without a data set."""
    torch.manual_seed(0)
    model = build_model(architecture, method, len(CLASSES) if method in OF_LABELS else 1, large_feature_map=large).eval()
    config = {"architecture": architecture, "wsol_method": method, "crop_size": side, "dataset_name": "None"}
    config |= {"metadata_root": "no/metadata", "data_root": "no/images"}
    ancestors = None if ancestors is None else np.array(ancestors)
    level = None if ancestors is None else "coarser"
    maps = make_mapper(mapper, model, ancestors)
    names, labels = CLASSES, [3, 5, 8, 9]
    config = Munch({**DEFAULTS, **config})
    return Predictor(Path("made"), config, 2, "finest", names, labels, level, ancestors, {"50": 0.3}, model, maps)


def opened(path):
    """What runs the file: images and labels to outputs by name."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return lambda images, labels: dict(
        zip(names, session.run(None, {"images": images, "labels": np.array(labels)}), strict=True)
    )


def photos(count, side=64, seed=0):
    """Smooth random images, uint8 (count, 3, side, side), always the same."""
    rng = np.random.default_rng(seed)
    images = [Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((side, side)) for _ in range(count)]
    return np.stack([np.asarray(image).transpose(2, 0, 1) for image in images])


def as_seen(predictor, images):
    """Images as the network sees them, float32 (B, 3, side, side)."""
    mean, std = (np.array(part)[:, None, None] for part in (predictor.preprocessing.mean, predictor.preprocessing.std))
    return torch.from_numpy((images / 255 - mean) / std).float()


def assert_same(run_file, predictor, images, labels):
    """The file's outputs are the model's, where labels may be -1."""
    outputs = run_file(images, labels)
    seen = as_seen(predictor, images)
    with torch.inference_mode():
        logits = predictor.model(seen).get("logits")
        expected = torch.tensor(labels)
        if logits is None:
            expected = torch.zeros_like(expected)
        else:
            expected = torch.where(expected < 0, logits.argmax(dim=1), expected)
            np.testing.assert_allclose(outputs["logits"], logits, atol=1e-4 * max(1, np.abs(logits.numpy()).max()))
        maps = predictor.mapper.raw_maps(predictor.mapper(seen, expected), expected).numpy()
    assert outputs["label"].tolist() == expected.tolist() and outputs["label"].dtype == np.int64
    assert outputs["raw_maps"].dtype == np.float32 and set(outputs) <= {"logits", "label", "raw_maps"}
    for found, own in zip(outputs["raw_maps"], maps, strict=True):
        np.testing.assert_allclose(found, own, rtol=0, atol=MAPS_TOLERANCE * np.ptp(own))
        assert np.ptp(own) > 0


CASES = [
    {"method": "cam"},
    {"method": "acol"},
    {"method": "fsl_seg"},
    {"mapper": "cam_agg", "ancestors": [0, 0, 1, 1]},
    {"architecture": "timm:test_vit", "side": 160},
    {"architecture": "resnet18"},
    *(
        pytest.param(case, marks=pytest.mark.slow)
        for case in (
            {"method": "spg", "large": True},
            {"method": "acol", "mapper": "cam_agg", "ancestors": [0, 1, 1, 1]},
            {"architecture": "timm:test_vit", "method": "adl", "side": 96},
        )
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_the_file_gives_what_the_model_gives_at_any_batch_size(case, tmp_path):
    predictor = predictor_of(**case)
    report = export_onnx(predictor, tmp_path / "model.onnx")
    run_file, side = opened(tmp_path / "model.onnx"), predictor.config.crop_size
    for labels in ([-1], [3], [-1, 0, 1, 2, -1]):
        assert_same(run_file, predictor, photos(len(labels), side), labels)
    assert ("logits" in run_file(photos(1, side), [-1])) == (predictor.config.wsol_method != "fsl_seg")
    assert report.random_images == 4 and report.photos == 0 and report.deviations.boxes == 8
    assert not report.deviations.exceeded() and [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("method", [*OF_LABELS, "fsl_seg"])
@pytest.mark.parametrize("architecture", ["resnet50", "vgg16", "inception_v3", "timm:tf_efficientnet_lite0"])
def test_every_method_on_every_network_is_exported(architecture, method, tmp_path):
    predictor = predictor_of(architecture, method, side=128)
    export_onnx(predictor, tmp_path / "model.onnx")
    assert_same(opened(tmp_path / "model.onnx"), predictor, photos(3, 128), [-1, 1, 3])


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["timm:vit_tiny_patch16_224", "timm:swin_tiny_patch4_window7_224"])
def test_transformers_of_timm_are_exported(architecture, tmp_path):
    predictor = predictor_of(architecture, side=224)
    export_onnx(predictor, tmp_path / "model.onnx")
    assert_same(opened(tmp_path / "model.onnx"), predictor, photos(3, 224), [-1, 1, 3])


@pytest.mark.parametrize("opset", [export.OPSETS.start, export.OPSETS.stop - 1])
def test_the_opset_is_that_asked_for(opset, tmp_path):
    assert export_onnx(predictor_of(), tmp_path / "model.onnx", opset).opset == opset
    assert [each.version for each in onnx.load(tmp_path / "model.onnx").opset_import if each.domain == ""] == [opset]


def test_exporting_is_quiet_repeatable_and_leaves_the_predictor_as_it_was(tmp_path, capfd):
    predictor = predictor_of()
    before = {name: value.clone() for name, value in predictor.model.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("one.onnx", "two.onnx"):
            export_onnx(predictor, tmp_path / name)
    assert capfd.readouterr() == ("", "")
    content = (tmp_path / "one.onnx").read_bytes()
    assert content == (tmp_path / "two.onnx").read_bytes()
    assert str(CHECKOUT).encode() not in content and b"site-packages" not in content
    after = predictor.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert predictor.model.backbone.image_size == (0, 0)  # no image has been seen


def test_what_both_passes_of_acol_share_is_there_once(tmp_path):
    predictor = predictor_of("resnet18", "acol")
    export_onnx(predictor, tmp_path / "model.onnx")
    convolutions = sum(node.op_type == "Conv" for node in onnx.load(tmp_path / "model.onnx").graph.node)
    assert convolutions == 20 + 2 * 2  # of the backbone, and of each branch; its classifier is a matrix product


def test_the_file_says_what_it_takes_to_draw_boxes(tmp_path):
    predictor = predictor_of(mapper="cam_agg", ancestors=[0, 0, 1, -1])
    predictor.hierarchy = {"coarser": {"names": ["é", "f"], "labels": [0, 0, 1, -1]}}
    export_onnx(predictor, tmp_path / "model.onnx")
    metadata = {each.key: each.value for each in onnx.load(tmp_path / "model.onnx").metadata_props}
    about = json.loads(metadata.pop("wsol"))
    assert metadata == {}
    assert about.pop("version") and about.pop("tolerance") == {"logits": 1e-4, "raw_maps": MAPS_TOLERANCE}
    assert about.pop("input") == {
        "side": 64,
        "channels": "RGB",
        "resize": "bilinear with antialiasing, regardless of proportions",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    assert about == {
        "format": 1,
        "architecture": SMALLEST,
        "method": "cam",
        "dataset": "None",
        "epoch": 2,
        "level": "finest",
        "class_names": CLASSES,
        "file_labels": [3, 5, 8, 9],
        "hierarchy": {"coarser": {"names": ["é", "f"], "labels": [0, 0, 1, -1]}},
        "cam_agg": {"level": "coarser", "labels": [0, 0, 1, -1]},
        "map_size": [2, 2],
        "box_threshold": 0.3,
        "score_map_thresholds": {"50": 0.3},
        "box_rules": {},
    }
    documented = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", DOCS_TABLE, re.MULTILINE))))
    assert documented == {*about, "version", "tolerance", "input", "map_level"}  # the last of several levels alone


DOCS_TABLE = (CHECKOUT / "docs/onnx.md").read_text().partition("with this JSON:")[2].partition("##")[0]


@pytest.fixture(scope="module")
def trained(toy_root, tmp_path_factory):
    """A folder with a run of one epoch on Toy's orders, whose checkpoint has box rules."""
    folder = tmp_path_factory.mktemp("exported")
    link_toy(toy_root, folder)
    run("main.py", *TINY, *SMALL, "--eval_test", "F", "--bootstrap", "0", "--experiment_name", "one", cwd=folder)
    return folder


def box_of_the_project(predictor, path):
    """The predicted class of a photo and its box, in its pixels, by the library's own functions."""
    image, side = Image.open(path).convert("RGB"), predictor.config.crop_size
    normalized = predictor.preprocessing.normalize(resize(image, side))[None]
    with torch.inference_mode():
        outputs = predictor.mapper(normalized)
        label = outputs["logits"].argmax(dim=1)
        raw_map = predictor.mapper.raw_maps(outputs, label)[0].numpy()
    score_map = normalize_raw_map(raw_map, (side, side))
    (box,) = boxes_at(score_map, predictor.box_rules["predicted"].threshold, multi_contour=False)
    return predictor.class_names[int(label)], *resize_bbox(box.tolist(), (side, side), image.size)


def test_the_example_draws_the_projects_boxes_without_the_project(trained, monkeypatch, tmp_path):
    monkeypatch.chdir(trained)
    predictor = restore("train_log/one/last_checkpoint.pth.tar")
    report = export_onnx(predictor, tmp_path / "my_run.onnx")
    assert report.photos == 4 and report.deviations.boxes == 16
    (tmp_path / "box.py").write_text(EXAMPLE + NO_LIBRARY)
    paths = [
        trained / "dataset/Toy" / image_id for image_id in predictor.load_splits(("test",)).splits["test"].image_ids[::40]
    ]
    for path in [*paths[:3], CHECKOUT / "docs/methods_oxfordpet.jpg"]:
        words = [sys.executable, "-P", "box.py", "my_run.onnx", str(path)]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
        name, *box = box_of_the_project(predictor, path)
        assert done.stdout == f"{name} {' '.join(map(str, box))}\n" and not done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"opset": 17}, "opset 17: expected 18 to 23"),
        ({"photos": ["no.jpg"]}, "no.jpg: no such file"),
    ],
)
def test_wrong_arguments_are_refused(change, message, tmp_path):
    with pytest.raises(InputError, match=re.escape(message)):
        export_onnx(predictor_of(), tmp_path / "model.onnx", **change)
    assert not list(tmp_path.iterdir())


def test_what_has_no_onnx_form_is_refused(tmp_path):
    with pytest.raises(InputError, match="wsol_method fsl_det: gives boxes, not maps"):
        export_onnx(predictor_of(method="fsl_det"), tmp_path / "model.onnx")
    with pytest.raises(InputError, match="extractor: the extractors of torchcam need gradients"):
        export_onnx(predictor_of(mapper="gradcam"), tmp_path / "model.onnx")
    refined = predictor_of()
    refined.refiner = lambda image, score_map, image_id: score_map
    with pytest.raises(InputError, match="made: a refiner is no part of an ONNX file"):
        export_onnx(refined, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra(name, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"^{name} is not installed; .*\[onnx\]"):
        export_onnx(predictor_of(), tmp_path / "model.onnx")


def test_the_library_loads_without_the_extra():
    code = "import sys, wsol.runs.export; assert not {'onnx', 'onnxscript', 'onnxruntime', 'onnx_ir'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)


def test_too_many_weights_for_one_file_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(export, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match=r"made: .* GiB of weights; expected at most"):
        export_onnx(predictor_of(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


class Shifted(export.ExportedMaps):
    """A model that is exported with maps that are not the mapper's."""

    def forward(self, images, labels):
        logits, classes, raw_maps = super().forward(images, labels)
        return logits, classes, raw_maps * torch.linspace(1, 1.1, raw_maps.shape[2])


class Darker(export.ExportedMaps):
    """A model that is exported with another normalisation."""

    def forward(self, images, labels):
        return super().forward(images // 2, labels)


@pytest.mark.parametrize(
    ("kind", "message"), [(Shifted, "raw maps .*, expected at most"), (Darker, "logits .*, expected at")]
)
def test_a_file_that_deviates_is_not_written_and_an_earlier_one_stays(kind, message, monkeypatch, tmp_path):
    (tmp_path / "model.onnx").write_text("earlier")
    monkeypatch.setattr(export, "ExportedMaps", kind)
    with pytest.raises(
        InputError, match=rf"model\.onnx: not written, since onnxruntime deviates from the model: .*{message}"
    ):
        export_onnx(predictor_of(), tmp_path / "model.onnx")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("model.onnx", "earlier")]


def test_a_full_disk_leaves_no_file(tmp_path):
    predictor = predictor_of("resnet18")
    with full_disk(10**6), pytest.raises(InputError, match=r"model\.onnx: cannot be written \(File too large\)"):
        export_onnx(predictor, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


class Untraceable(torch.nn.Module):
    """A mapper of another package that leaves torch."""

    def forward(self, images, labels=None):
        return {"logits": images.flatten(1)[:, : 1 + int(images.sum().item() > 0)], "maps": images[:, 0]}

    def raw_maps(self, outputs, labels):
        return outputs["maps"]


def test_what_torch_cannot_export_is_said_in_one_short_message(tmp_path, capfd):
    predictor = predictor_of()
    predictor.mapper = Untraceable()
    with pytest.raises(InputError, match="made: torch cannot export it to ONNX: ") as caught:
        export_onnx(predictor, tmp_path / "model.onnx")
    assert len(str(caught.value)) < 600 and capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def compared(change, images=None):
    """The deviations of a model from itself, with its outputs changed."""
    predictor = predictor_of()
    images = photos(4) if images is None else images

    def changed(images, labels):
        seen, labels = as_seen(predictor, images), torch.from_numpy(labels)
        with torch.inference_mode():
            outputs = predictor.model(seen)
            classes = torch.where(labels < 0, outputs["logits"].argmax(dim=1), labels)
            given = {"logits": outputs["logits"], "label": classes, "raw_maps": predictor.model.raw_maps(outputs, classes)}
        arrays = {name: value.numpy().copy() for name, value in given.items()}
        change(arrays)
        return arrays

    return compare(changed, predictor.mapper, predictor.preprocessing, images, len(CLASSES), 0.3)


def test_deviations_are_measured():
    same = compared(lambda outputs: None)
    assert same.logits < 1e-5 and same.maps < 1e-4 and (same.boxes, same.equal_boxes, same.box_iou) == (8, 8, 1)
    assert not same.exceeded()
    assert compared(lambda outputs: outputs["logits"].__iadd__(0.01)).logits == pytest.approx(0.01, rel=0.01)
    turned = compared(lambda outputs: outputs.update(raw_maps=-outputs["raw_maps"]))
    assert turned.maps >= 1 and turned.box_iou < 0.95 and "raw maps" in turned.exceeded() and "boxes" in turned.exceeded()
    for name, exceeded in (("logits", "logits nan"), ("raw_maps", "raw maps nan")):
        assert exceeded in compared(lambda outputs, name=name: outputs[name].fill(np.nan)).exceeded()


def test_the_class_of_a_map_is_the_label_or_the_highest_logit():
    assert compared(lambda outputs: outputs["label"].fill(2)).logits == np.inf
    assert Deviations(logits=np.inf).exceeded() == "logits inf, expected at most 0.0001"
