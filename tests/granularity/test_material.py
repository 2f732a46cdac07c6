"""Runs of several levels as one set: what is read, and what is refused."""

import numpy as np
import pytest
import yaml

from made_up import LEVELS, differing_chance, draw_rights, evaluator_of, made_up_tree, write_data_set, write_runs
from samples import of_json, write_run
from wsol.core.errors import InputError
from wsol.core.files import write_json, write_text
from wsol.granularity.material import read_level_tree, read_material, read_run_set


@pytest.fixture
def made(tmp_path):
    tree = made_up_tree()
    ids = write_data_set(tmp_path / "metadata", tree, 5)
    rights = draw_rights(np.random.default_rng(0), tree, differing_chance(tree), 5, seeds=2)
    folders = write_runs(tmp_path / "runs", tree, {"val": rights}, ids)
    return tree, rights, ids, folders


def change(folder, **options):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    write_text(folder / "config.yaml", yaml.safe_dump({**config, **options}))


def test_what_was_written_is_read(made):
    tree, rights, ids, folders = made
    runs = read_run_set(folders[::-1])
    assert (runs.levels, runs.seeds, runs.notes) == (list(LEVELS), [0, 1], [])
    found = read_level_tree(runs.folder, runs.levels)
    assert (found.levels, found.leaves, found.names) == (tree.levels, tree.leaves, tree.names)
    np.testing.assert_array_equal(found.classes, tree.classes)
    material = read_material(runs, found, "val")
    assert list(material.image_ids) == ids["val"] and material.notes == []
    np.testing.assert_array_equal(material.rights.packed, rights.packed)
    np.testing.assert_array_equal(material.rights.leaf_of, rights.leaf_of)


def test_some_of_the_levels_are_a_smaller_tree(made):
    tree, _, _, folders = made
    runs = read_run_set([folders[1], folders[2]])
    found = read_level_tree(runs.folder, runs.levels)
    assert found.levels == LEVELS[1:] and found.leaves == tree.leaves


def test_cam_agg_runs_stand_for_the_level_they_aggregate_to(made):
    _, _, _, folders = made
    for folder, level in zip(folders[1:3], LEVELS[1:], strict=True):
        write_json(
            folder / "results.json", {**of_json(folder / "results.json"), "label_level": "species", "cam_agg_level": level}
        )
        change(folder, label_level="species", cam_agg_level=level, epochs=0)
    runs = read_run_set(folders[:3])
    assert runs.levels == list(LEVELS)
    assert runs.runs[0, "genus"].folder == folders[1]


def test_options_that_val_chose_may_differ_and_are_named(made):
    _, _, _, folders = made
    change(folders[1], lr=0.5)
    (note,) = read_run_set(folders[:3]).notes
    assert note == "lr differs: 0.1 (species0 and 1 more); 0.5 (genus0)"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"architecture": "vgg16"}, "architecture 'vgg16', but 'resnet50' in .*species0; expected runs that are alike"),
        ({"wsol_method": "has"}, "wsol_method 'has', but 'cam'"),
        ({"num_train_sample_per_class": 5}, "num_train_sample_per_class 5, but 0"),
        ({"coarsening": "v.csv"}, "trained with a coarsening; expected runs at levels"),
        ({"seed": None}, "seed is None; expected a whole number"),
        ({"seed": 3}, "no run of seed 0 at level 'genus'; expected every seed to have the same levels"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(made, options, said):
    _, _, _, folders = made
    change(folders[1], **options)
    with pytest.raises(InputError, match=said):
        read_run_set(folders[:3])


def test_one_level_and_two_runs_of_a_level_are_refused(made):
    _, rights, ids, folders = made
    with pytest.raises(InputError, match="the only level among the runs is 'species'; expected runs at two levels"):
        read_run_set([folders[0], folders[3]])
    other = folders[0].with_name("again")
    write_run(other, evaluator_of(rights, 0, 0, ids["val"], "val"), metadata_root=str(folders[0].parents[1] / "metadata"))
    with pytest.raises(InputError, match="both of level 'species' and seed 0; expected one run of each"):
        read_run_set([*folders, other])
    assert len(read_run_set([*folders, folders[0]]).runs) == 6  # the same folder twice is one run


def test_a_level_that_the_data_set_does_not_have_is_refused(made):
    _, _, _, folders = made
    content = of_json(folders[1] / "results.json")
    write_json(folders[1] / "results.json", {**content, "label_level": "clade"})
    with pytest.raises(InputError, match=r"its level is 'clade'; expected one of .*D: species, genus, family"):
        read_run_set(folders[:3])


def test_other_images_settings_and_files_are_refused(made, tmp_path):
    tree, rights, ids, folders = made
    runs = read_run_set(folders[:3])
    with pytest.raises(InputError, match=r"species0/test_images.npz: no such file; expected runs that have evaluated test"):
        read_material(runs, tree, "test")
    keys = {"label_level": "genus", "metadata_root": str(tmp_path / "metadata")}
    write_run(folders[1], evaluator_of(rights.take(np.arange(35)), 0, 1, ids["val"][:35], "val"), **keys)
    with pytest.raises(InputError, match=r"genus0/val_images.npz: 5 of 40 images that other runs scored are missing"):
        read_material(runs, tree, "val")
    evaluator = evaluator_of(rights, 0, 1, ids["val"], "val")
    evaluator.iou_threshold_list = [30, 50, 60]
    evaluator.boxes = None
    evaluator.images = [one._replace(boxes=None) for one in evaluator.images]
    write_run(folders[1], evaluator, **keys)
    with pytest.raises(InputError, match=r"genus0/val_images.npz: scored with iou_threshold_list"):
        read_material(runs, tree, "val")


def test_images_outside_a_level_are_left_out_and_counted(made, tmp_path):
    """As 12 of CUB's classes, which are no single species: runs at coarser levels have not scored them."""
    tree, rights, ids, folders = made
    for level in LEVELS[1:]:
        for split in ("train", "val", "test"):
            path = tmp_path / "metadata" / "D" / split / f"class_labels_{level}.txt"
            write_text(path, "".join(path.read_text().splitlines(keepends=True)[5:]))  # the first class of five images
    for i, folder in enumerate(folders[1:3], 1):
        inside = rights.take(np.arange(5, 40))
        keys = {"label_level": LEVELS[i], "metadata_root": str(tmp_path / "metadata")}
        write_run(folder, evaluator_of(inside, 0, i, ids["val"][5:], "val"), **keys)
    runs = read_run_set(folders[:3])
    found = read_level_tree(runs.folder, runs.levels)
    assert found.leaves == tree.leaves[1:]
    material = read_material(runs, found, "val")
    assert list(material.image_ids) == ids["val"][5:]
    assert material.notes == ["val: 5 of 40 images have no class at one of the levels and are left out"]
    np.testing.assert_array_equal(material.rights.packed[0], rights.packed[0, :, 5:])
