"""Maps in the folders of several runs, scored through an index as if they were in one."""

import numpy as np
import pytest

from evaluation import evaluate_wsol
from samples import BOTH, save_maps
from wsol.core.errors import MetadataError, ScoreMapError
from wsol.core.files import write_text
from wsol.maps.map_index import find_maps, read_map_index, write_map_index
from wsol.maps.score_maps import find_score_maps, read_score_map


def test_each_map_comes_from_its_folder(tmp_path):
    for seed, name in enumerate(("one", "two")):
        save_maps(tmp_path / name, seed=seed)
    index = dict(zip(BOTH, (tmp_path / "two", tmp_path / "one"), strict=True))
    write_map_index(tmp_path / "out" / "maps.csv", index)
    assert "../two" in (tmp_path / "out" / "maps.csv").read_text()
    assert {i: folder.resolve() for i, folder in read_map_index(tmp_path / "out" / "maps.csv").items()} == index
    found = find_maps(tmp_path / "out" / "maps.csv", BOTH)
    found.require_all()
    for image_id in BOTH:
        own = find_score_maps(index[image_id], BOTH).paths[image_id]
        np.testing.assert_array_equal(read_score_map(found.paths[image_id])[0], read_score_map(own)[0])


def test_images_without_a_line_or_a_map_are_missing(tmp_path):
    save_maps(tmp_path / "one", BOTH[:1])
    write_map_index(tmp_path / "maps.csv", {BOTH[1]: tmp_path / "one"})
    assert find_maps(tmp_path / "maps.csv", BOTH).missing == list(BOTH)


def test_damaged_indices_and_mixed_formats_are_refused(tmp_path):
    path = tmp_path / "maps.csv"
    write_text(path, "image,folder\na.jpg,one\na.jpg,two\n")
    with pytest.raises(MetadataError, match=r"maps.csv:3: 'a.jpg', 'two'; expected every image once"):
        find_maps(path, BOTH)
    write_text(path, "image,root\n")
    with pytest.raises(MetadataError, match="expected the header image,folder"):
        find_maps(path, BOTH)
    for image_id, kind in zip(BOTH, ("npy", "png8"), strict=True):
        save_maps(tmp_path / kind, [image_id], kind=kind)
    write_map_index(path, {BOTH[0]: tmp_path / "npy", BOTH[1]: tmp_path / "png8"})
    with pytest.raises(ScoreMapError, match=r"formats .npy, .png; expected one format"):
        find_maps(path, BOTH)


def test_evaluation_scores_an_index_as_it_scores_a_folder(two_images, tmp_path):
    for seed, name in enumerate(("one", "two")):
        save_maps(tmp_path / name, seed=seed)
    index = dict(zip(BOTH, (tmp_path / "two", tmp_path / "one"), strict=True))
    write_map_index(tmp_path / "maps.csv", index)
    (tmp_path / "copied").mkdir()
    for image_id in BOTH:  # the same maps, copied into one folder
        source = find_score_maps(index[image_id], BOTH).paths[image_id]
        target = tmp_path / "copied" / source.relative_to(index[image_id])
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(source.read_bytes())
    options = (tmp_path / "metadata", tmp_path, "D", "val", True, True, [30, 50, 70])
    assert evaluate_wsol(tmp_path / "maps.csv", *options) == evaluate_wsol(tmp_path / "copied", *options)
