"""What a run keeps of its images stands for their maps: `<split>_images.npz`, written, read, scored and compared."""

import io
import json
import zipfile
from functools import partial

import cv2
import numpy as np
import pytest

import evaluation
from wsol.core.errors import InputError
from wsol.core.files import write_text
from wsol.data.truth import SplitTruth
from wsol.maps.score_maps import save_score_map
from wsol.metrics.images_file import ImagesFile, read_images, read_interval, write_images
from wsol.metrics.scored import Scored
from wsol.metrics.split_evaluator import SplitEvaluator
from wsol.runs.run_tables import write_class_ranks

HOW = ("--multi_contour_eval", "--multi_iou_eval", "--bootstrap", "50", "--json", "r.json")


@pytest.fixture(scope="module")
def maps(toy_root, tmp_path_factory):
    """A folder with the maps of two runs on Toy's val split, a and b, and what each kept of its images."""
    folder = tmp_path_factory.mktemp("maps")
    truth = SplitTruth.read(toy_root / "metadata", toy_root / "dataset", "Toy", "val")
    for seed, name in enumerate(("a", "b")):
        rng = np.random.default_rng(seed)
        evaluator = SplitEvaluator(truth, 0.01, [30, 50, 70], True)
        for image_id in truth.image_ids:
            score_map = cv2.resize(rng.random((4, 4)), (32, 32), interpolation=cv2.INTER_LINEAR)
            save_score_map(folder / name, image_id, score_map)
            scored = evaluator.score(score_map, image_id)
            evaluator.add(
                scored._replace(rank=int(rng.integers(9)), area_ratio=0.5, activation_ratio=None, num_components=2)
            )
        write_images(folder / f"{name}.npz", evaluator, 0.25)
        write_class_ranks(folder / f"{name}.csv", evaluator.ranks)
    return folder


@pytest.fixture
def command(maps, toy_root, run_here, tmp_path):
    """evaluation.py on Toy, in a folder with the maps and files of both runs."""
    for path in maps.iterdir():
        (tmp_path / path.name).symlink_to(path)
    where = ("--metadata_root", toy_root / "metadata", "--mask_root", toy_root / "dataset")
    return partial(run_here, evaluation.main, *where)


def results_of(command, folder, *words):
    command(*HOW, *words)
    return json.loads((folder / "r.json").read_text())


@pytest.mark.parametrize("options", [(), ("--image_list", "some.txt"), ("--seed", "3", "--thresholds_from", "val.json")])
def test_tests_between_runs_need_no_map(command, maps, tmp_path, toy_root, options):
    ids = (toy_root / "metadata/Toy/val/image_ids.txt").read_text().split()
    write_text(tmp_path / "some.txt", "\n".join(ids[:20]) + "\n")
    best = {"30": 0.1, "50": 0.2, "70": 0.3}
    write_text(
        tmp_path / "val.json", json.dumps({"dataset_name": "Toy", "box_rule": "multi_contour", "best_threshold": best})
    )
    of_maps = ("--scoremap_root", "a", "--class_ranks", "a.csv", "--cam_curve_interval", "0.01")
    expected = results_of(command, tmp_path, *of_maps, "--compare", "b", *options)
    found = results_of(command, tmp_path, "--images_from", "a.npz", "--compare", "b.npz", *options)
    assert (found.pop("scored"), expected.pop("scored")) == ("a.npz", "a")
    assert (found["compare"].pop("other"), expected["compare"].pop("other")) == ("b.npz", "b")
    assert found == expected
    assert found["compare"]["PxAP"]["difference"] != 0 and found["top1_loc"] is not None


def test_files_are_compared_with_maps_and_center_too(command, tmp_path):
    expected = results_of(command, tmp_path, "--scoremap_root", "a", "--compare", "b")
    for words in (("--images_from", "a.npz", "--compare", "b"), ("--scoremap_root", "a", "--compare", "b.npz")):
        found = results_of(command, tmp_path, *words)
        assert found["compare"]["MaxBoxAccV2"] == expected["compare"]["MaxBoxAccV2"]
    expected = results_of(command, tmp_path, "--scoremap_root", "a", "--compare", "center")["compare"]
    assert results_of(command, tmp_path, "--images_from", "a.npz", "--compare", "center")["compare"] == expected


def test_tables_of_counts_need_no_map_either(command, tmp_path):
    tables = ("--curve", "c.csv", "--per_class", "p.csv")
    command(*HOW, "--scoremap_root", "a", *tables, "--cam_curve_interval", "0.01")
    expected = [(tmp_path / name).read_text() for name in ("c.csv", "p.csv")]
    command(*HOW, "--images_from", "a.npz", *tables)
    assert [(tmp_path / name).read_text() for name in ("c.csv", "p.csv")] == expected


def test_what_is_written_is_read(maps):
    file = read_images(maps / "a.npz")
    assert (file.analysis_threshold, file.settings["box_rule"], read_interval(maps / "a.npz")) == (
        0.25,
        "multi_contour",
        0.01,
    )
    one = next(iter(file.images.values()))
    assert (one.size, one.area_ratio, one.activation_ratio, one.num_components) == ((32, 32), 0.5, None, 2)
    assert (one.boxes.shape, one.masks.shape) == ((3, 13), (2, 102))


def test_the_same_images_are_the_same_bytes(maps, tmp_path, toy_root):
    truth = SplitTruth.read(toy_root / "metadata", toy_root / "dataset", "Toy", "val")
    evaluator = SplitEvaluator(truth, 0.01, [30, 50, 70], True)
    for scored in read_images(maps / "a.npz").images.values():
        evaluator.add(scored)
    write_images(tmp_path / "again.npz", evaluator, 0.25)
    assert (tmp_path / "again.npz").read_bytes() == (maps / "a.npz").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--multi_contour_eval", "F"), "box_rule multi_contour; expected largest_contour (--multi_contour_eval TRUE gives"),
        (("--cam_curve_interval", "0.1"), "interval 0.01; expected 0.1 (--cam_curve_interval 0.01 gives the former)"),
        (("--iou_threshold_list", "50"), "expected 50 (--iou_threshold_list 30 50 70 gives the former)"),
        (("--split", "test"), "a.npz: scored with split val; expected test"),
        (("--per_image", "x.csv"), "--per_image x.csv: expected not together with --images_from"),
        (("--map_size", "9"), "--map_size 9: expected not together with --images_from"),
        (("--center",), "expected not together with --center"),
        (("--compare", "nowhere.npz"), "nowhere.npz: no such file"),
        (("--json", "b.npz", "--compare", "b.npz"), "would replace the input b.npz"),
    ],
)
def test_files_that_do_not_fit_are_refused(command, words, message):
    assert message in command(*HOW, "--images_from", "a.npz", *words, code=2)


def test_images_that_a_file_lacks_are_refused_or_left_out(command, maps, tmp_path, toy_root):
    truth = SplitTruth.read(toy_root / "metadata", toy_root / "dataset", "Toy", "val")
    evaluator = SplitEvaluator(truth, 0.01, [30, 50, 70], True)
    first, second, *others = read_images(maps / "a.npz").images.values()
    for scored in (*others, Scored(first.image_id, skipped=True)):
        evaluator.add(scored)
    write_images(tmp_path / "fewer.npz", evaluator, None)
    message = f"fewer.npz: lacks 2 of {len(truth.image_ids)} images"
    assert message in command(*HOW, "--images_from", "fewer.npz", code=2)
    found = results_of(command, tmp_path, "--images_from", "fewer.npz", "--on_missing", "skip")
    assert (found["counts"]["images"], found["counts"]["missing_maps"]) == (len(others), 2)
    assert second.image_id not in read_images(tmp_path / "fewer.npz").images


def changed(maps, **changes):
    with np.load(maps / "a.npz") as archive:
        arrays = {**dict(archive), **changes}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: array for name, array in arrays.items() if array is not None})
    return buffer.getvalue()


def header(**changes):
    settings = {"cam_curve_interval": 0.01, "iou_threshold_list": [30, 50, 70]}
    return np.array(json.dumps({"format": 1, "settings": settings, "analysis_threshold": None, **changes}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"header": header(format=2)}, "format 2; expected 1, of a run's <split>_images.npz"),
        ({"header": header(settings=[])}, "no valid settings"),
        ({"header": header(settings={"cam_curve_interval": "x"})}, "no valid settings"),
        ({"header": header(analysis_threshold="x")}, "no valid settings"),
        ({"header": header(settings={"cam_curve_interval": -0.5, "iou_threshold_list": [50]})}, "no valid settings"),
        ({"header": header(settings={"cam_curve_interval": 0.1, "iou_threshold_list": "50"})}, "no valid settings"),
        ({"image_id": np.array(["x"] * 128)}, r".*image_id: 127 of 128 ids are duplicates"),
        ({"rank": np.full(128, -5)}, r".*rank: -5 to -5; expected -1 to"),
        ({"rank": np.full(128, 2**63, np.uint64)}, r".*rank: "),
        ({"rank": np.arange(128) - 1}, r".*rank: known for only some of the images"),
        ({"size": np.full((128, 2), -64)}, r".*size: -64 to -64; expected 0 to 20000"),
        ({"size": np.full((128, 2), 60_000)}, r".*size: 60000 to 60000; expected 0 to 20000"),
        ({"boxes": np.zeros((128, 3, 13), np.uint16)}, r".*boxes: uint16; expected packed bits, uint8"),
        ({"header": np.array("[")}, "not a readable file of images"),
        ({"header": None}, "no header"),
        ({"rank": np.array([object()])}, r"not a readable file of images \(pickled objects\)"),
        ({"rank": np.zeros(3, int)}, r"not a readable file of images \(rank: expected one row of numbers"),
        ({"rank": None}, r"not a readable file of images \(rank: expected one row of numbers"),
        ({"image_id": None}, "not a readable file of images"),
        ({"image_id": np.zeros(3)}, r"not a readable file of images \(image_id: expected a list of text"),
    ],
)
def test_a_damaged_file_is_named(maps, tmp_path, change, message):
    (tmp_path / "x.npz").write_bytes(changed(maps, **change))
    with pytest.raises(InputError, match=rf"x\.npz: {message}"):
        read_images(tmp_path / "x.npz")


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 1000])
def test_what_is_no_archive_is_named(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.npz: not a readable file of images"):
        read_images(tmp_path / "x.npz")


@pytest.mark.parametrize(("name", "kind", "count"), [("boxes", "|u1", 1 << 40), ("image_id", "<U0", 10**10)])
def test_a_file_that_declares_more_than_it_has_asks_for_no_memory(maps, tmp_path, name, kind, count):
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": kind, "fortran_order": False, "shape": (count,)})
    with zipfile.ZipFile(maps / "a.npz") as old, zipfile.ZipFile(tmp_path / "x.npz", "w") as new:
        for member in old.namelist():
            new.writestr(member, array.getvalue() if member == f"{name}.npy" else old.read(member))
    with pytest.raises(InputError, match=rf"x\.npz: .*\({name}\.npy: shape .*more than there is"):
        read_images(tmp_path / "x.npz")


def test_a_file_of_other_shapes_does_not_fit(maps, toy_root):
    truth = SplitTruth.read(toy_root / "metadata", toy_root / "dataset", "Toy", "val")
    file = read_images(maps / "a.npz")
    images = {name: one._replace(boxes=one.boxes[:, :3]) for name, one in file.images.items()}
    with pytest.raises(InputError, match="do not match this split and these options"):
        ImagesFile(file.path, file.settings, None, images).check(SplitEvaluator(truth, 0.01, [30, 50, 70], True))


def test_a_file_gives_its_evaluator_back_without_the_truth(maps, toy_root):
    truth = SplitTruth.read(toy_root / "metadata", toy_root / "dataset", "Toy", "val")
    scored = SplitEvaluator(truth, 0.01, [30, 50, 70], True)
    file = read_images(maps / "a.npz")
    for one in file.images.values():
        scored.add(one)
    found = file.evaluator()
    assert found.results() == scored.results() and found.map_sizes == scored.map_sizes
    broken = ImagesFile(file.path, {**file.settings, "truth": None}, None, file.images)
    with pytest.raises(InputError, match=r"a\.npz: not the settings of an evaluator"):
        broken.evaluator()
    other = ImagesFile(file.path, {**file.settings, "iou_threshold_list": [50]}, None, file.images)
    with pytest.raises(InputError, match="do not match"):
        other.evaluator()
