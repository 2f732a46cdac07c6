"""Score-map files: every format, what is found in a folder, and what is refused."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from wsol.core.errors import ScoreMapError
from wsol.maps.score_maps import (
    FORMATS,
    check_score_map,
    find_score_maps,
    holds_score_maps,
    read_score_map,
    save_score_map,
    sort_others,
)
from wsol.metrics.boxes import compute_bboxes_from_scoremaps

THRESHOLDS = np.arange(0, 1, 0.01)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_float_map_is_accepted(dtype):
    check_score_map(np.linspace(0, 1, 6, dtype=dtype).reshape(2, 3), "map")


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def smooth_map(seed=0, side=64):
    rough = cv2.resize(np.random.default_rng(seed).random((5, 5)), (side, side), interpolation=cv2.INTER_CUBIC)
    return (rough - rough.min()) / (rough.max() - rough.min())


@pytest.mark.parametrize("kind", FORMATS)
def test_every_kind_comes_back(kind, tmp_path):
    score_map = smooth_map()
    save_score_map(tmp_path, "a b/c, d.jpg", score_map, kind)
    path = find_score_maps(tmp_path, ["a b/c, d.jpg"]).paths["a b/c, d.jpg"]
    again, found = read_score_map(path)
    assert found == kind
    if kind.startswith("np"):
        np.testing.assert_array_equal(again, score_map)
    else:
        step = 1 / (255 if kind == "png8" else 65535)
        assert ((score_map - again >= -1e-12) & (score_map - again < step)).all()
    assert not list(tmp_path.rglob("*.tmp"))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(0, 1)),
    st.sampled_from(["png8", "png16"]),
    st.booleans(),
)
def test_boxes_are_exact_from_png(tmp_path_factory, score_map, kind, multi_contour):
    root = tmp_path_factory.mktemp("png")
    save_score_map(root, "a", score_map, kind)
    again, _ = read_score_map(root / "a.png")
    boxes, counts = compute_bboxes_from_scoremaps(again, THRESHOLDS, multi_contour)
    expected, expected_counts = compute_bboxes_from_scoremaps(score_map, THRESHOLDS, multi_contour)
    assert counts == expected_counts
    np.testing.assert_array_equal(np.concatenate(boxes), np.concatenate(expected))


def test_every_level_of_both_png_kinds_is_quantised_back_to_itself(tmp_path):
    for kind, count in (("png8", 256), ("png16", 65536)):
        levels = np.arange(count)
        Image.fromarray(levels.astype(np.uint8 if count == 256 else np.uint16).reshape(16, -1)).save(tmp_path / "x.png")
        again, found = read_score_map(tmp_path / "x.png")
        assert found == kind
        np.testing.assert_array_equal((again * 255).astype(np.uint8).ravel(), levels * 255 // (count - 1))


def test_saved_maps_by_full_id_or_without_extension(tmp_path):
    save(tmp_path / "v/a.jpg.npy", np.zeros((2, 2)))
    save(tmp_path / "v/b.npy", np.ones((2, 2)))
    paths = find_score_maps(tmp_path, ["v/a.jpg", "v/b.jpg"]).paths
    maps = {image_id: read_score_map(path)[0] for image_id, path in paths.items()}
    assert maps["v/b.jpg"].all() and not maps["v/a.jpg"].any()
    with pytest.raises(ScoreMapError, match="2 image ids share this name"):
        find_score_maps(tmp_path, ["v/b.jpg", "v/b.png"])
    with pytest.raises(ScoreMapError, match="2 image ids share this name"):
        find_score_maps(tmp_path, ["v/b.jpg"], ["v/a.jpg", "v/b.jpg", "v/b.png"])


def test_missing_maps_are_counted_and_the_first_ten_named(tmp_path):
    ids = [f"{i}.jpg" for i in range(12)]
    save(tmp_path / "3.jpg.npy", np.zeros((2, 2)))
    with pytest.raises(ScoreMapError, match=r"11 of 12 score maps are missing") as caught:
        find_score_maps(tmp_path, ids).require_all()
    assert "10.jpg" in str(caught.value) and "11.jpg" not in str(caught.value) and "1 more" in str(caught.value)


def test_a_mixture_of_files_is_refused(tmp_path):
    save_score_map(tmp_path, "a.jpg", smooth_map(), "npy")
    save_score_map(tmp_path, "b.jpg", smooth_map(), "png8")
    with pytest.raises(ScoreMapError, match=r"a mixture of 1 \.npy, 1 \.png"):
        find_score_maps(tmp_path, ["a.jpg", "b.jpg"])
    assert list(find_score_maps(tmp_path, ["b.jpg"]).paths) == ["b.jpg"]
    save_score_map(tmp_path, "b", smooth_map(), "npy")  # a second map of the same image
    with pytest.raises(ScoreMapError, match=r"a mixture of 1 \.npy, 1 \.png"):
        find_score_maps(tmp_path, ["b.jpg"])


def test_maps_of_other_splits_and_of_no_image(tmp_path):
    for image_id in ("val/a.jpg", "test/b.jpg", "c.jpg"):
        save_score_map(tmp_path, image_id, smooth_map())
    save(tmp_path / "test/d.npy", smooth_map())
    (tmp_path / ".c.jpg.npy.123.tmp").touch()
    (tmp_path / "notes.txt").touch()
    files = find_score_maps(tmp_path, ["val/a.jpg"])
    assert files.others == ["c.jpg.npy", "test/b.jpg.npy", "test/d.npy"]
    known = {"val": ["val/a.jpg"], "test": ["test/b.jpg", "test/d.jpg"]}
    assert sort_others(files.others, known) == ({"test": 2}, ["c.jpg.npy"])
    assert holds_score_maps(tmp_path)
    assert not holds_score_maps(tmp_path / "nowhere")


def damaged(folder):
    """Write one file of each kind of damage; return its name and what the message should say."""
    np.save(folder / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(folder / "pickled.npz", a=np.array([{}], dtype=object))
    np.savez(folder / "two.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    np.savez(folder / "integers.npz", a=np.zeros((2, 2), int))
    save(folder / "truncated.npy", np.zeros((20, 20)))
    np.savez_compressed(folder / "truncated.npz", a=np.random.default_rng(0).random((20, 20)))
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "colours.png")
    Image.fromarray(noise).quantize(8).save(folder / "palette.png")
    Image.fromarray(noise[..., 0]).save(folder / "jpeg.png", format="JPEG")
    Image.fromarray(noise[..., 0]).save(folder / "truncated.png")
    Image.fromarray(noise[..., 0] > 9).save(folder / "onebit.png")
    for name in ("truncated.npy", "truncated.npz", "truncated.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:200])
    for extension in ("npy", "npz", "png"):
        (folder / f"empty.{extension}").touch()
    save(folder / "volume.npy", np.zeros((2, 2, 2)))
    save(folder / "nothing.npy", np.zeros((0, 2)))
    save(folder / "nan.npy", np.full((2, 2), np.nan))
    save(folder / "infinite.npy", np.full((2, 2), np.inf))
    save(folder / "large.npy", np.full((2, 2), 1.5))
    save(folder / "bytes.npy", np.zeros((2, 2), np.uint8))
    return {
        **dict.fromkeys(
            ["pickled.npy", "pickled.npz", "truncated.npy", "truncated.npz", "truncated.png"], "not a readable .np"
        ),
        "truncated.png": "not a readable .png",
        "two.npz": "2 arrays in it, expected one",
        "integers.npz": "an array of int64; expected floats",
        "colours.png": "PNG of mode RGB; expected PNG of one grey channel of 8 or 16 bits",
        "palette.png": "PNG of mode P; expected",
        "jpeg.png": "not a PNG file; expected PNG of one grey channel",
        "onebit.png": "PNG of mode 1; expected",
        "empty.npy": "not a readable .npy",
        "empty.npz": "not a readable .npz",
        "empty.png": "not a readable .png",
        "volume.npy": r"shape (2, 2, 2); expected (height, width)",
        "nothing.npy": "shape (0, 2)",
        "nan.npy": "no NaN",
        "infinite.npy": "values from inf to inf",
        "large.npy": "values from 1.5 to 1.5",
        "bytes.npy": "an array of uint8; expected floats",
    }


def test_every_damaged_file_is_named(tmp_path):
    for name, message in damaged(tmp_path).items():
        with pytest.raises(ValueError if "expected floats" not in message else TypeError) as caught:
            read_score_map(tmp_path / name)
        assert message in str(caught.value)
        assert str(tmp_path / name) in str(caught.value)
