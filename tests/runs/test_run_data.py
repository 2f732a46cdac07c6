"""The data of a run, checked before anything is trained."""

import pytest
from PIL import Image

from config import get_config
from samples import write_split
from wsol.core.errors import InputError, OptionError
from wsol.data.targets import BoxTargets, MaskTargets
from wsol.runs.run_data import read_run_data


@pytest.fixture(autouse=True)
def _inside(workspace, monkeypatch):
    monkeypatch.chdir(workspace)


def test_the_splits_their_truth_and_the_ancestors_of_a_level():
    data = read_run_data(get_config(["--label_level", "family", "--cam_agg_level", "order", "--eval_test", "F"])[0])
    assert list(data.splits) == ["train", "val"] and list(data.truths) == ["val"]
    assert data.truths["val"].has_any and data.levels.level == "family"
    assert len(data.ancestors) == len(data.levels.class_names) and set(data.ancestors.tolist()) == {0, 1}
    assert read_run_data(get_config([])[0]).ancestors is None


def test_one_class_is_refused(tmp_path):
    for split in ("train", "val"):
        files = {"image_ids": ["a.jpg"], "class_labels": ["a.jpg,0"], "image_sizes": ["a.jpg,9,9"]}
        write_split(tmp_path / "other/One" / split, **files, localization=["a.jpg,0,0,3,3"])
    config, _ = get_config(["--dataset_name", "One", "--metadata_root", "other", "--eval_test", "F"])
    with pytest.raises(OptionError, match="One has one class at this level; expected two or more"):
        read_run_data(config)


@pytest.mark.parametrize(("method", "kind"), [("fsl_seg", MaskTargets), ("fsl_det", BoxTargets)])
def test_full_supervision_trains_and_validates_on_disjoint_images_of_val(method, kind):
    val = read_run_data(get_config([])[0]).splits["val"]
    data = read_run_data(get_config(["--wsol_method", method, "--label_level", "order"])[0])
    assert list(data.splits) == ["train", "val", "test"] and list(data.truths) == ["val", "test"]
    parts = [data.splits[name].image_ids for name in ("train", "val")]
    assert sorted(parts[0] + parts[1]) == sorted(val.image_ids) and not set(parts[0]) & set(parts[1])
    assert list(data.truths["val"].image_ids) == parts[1]
    assert isinstance(data.targets, kind) and list(data.targets.truth.image_ids) == parts[0]
    assert (data.truths["test"].masks is None) == (method == "fsl_det")


def test_all_of_the_budget_trains_where_nothing_validates():
    words = "--wsol_method fsl_seg --fsl_val_share 0 --num_val_sample_per_class 3 --eval_test F"
    data = read_run_data(get_config(words.split())[0])
    assert len(data.splits["train"].image_ids) == 3 * len(data.levels.class_names)
    assert list(data.splits) == ["train"] and data.truths == {}


def one_class(folder, **files):
    for split in ("val", "test"):
        write_split(
            folder / "other/One" / split,
            image_ids=["a.png", "b.png"],
            class_labels=["a.png,0", "b.png,0"],
            image_sizes=["a.png,9,9", "b.png,9,9"],
            **files.get(split, files["both"]),
        )
    for name in ("a.png", "b.png", "mask.png"):
        (folder / "images/One").mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), 255).save(folder / "images/One" / name)
    roots = "--metadata_root other --data_root images --mask_root images"
    return f"--dataset_name One {roots} --fsl_val_share 0.5".split()


MASKS = {"localization": ["a.png,mask.png,", "b.png,mask.png,"]}
BOXES = {"localization": ["a.png,0,0,3,3", "b.png,0,0,3,3"]}


def test_a_detector_is_refused_without_boxes_to_learn_from_or_to_be_measured_by(tmp_path):
    words = one_class(tmp_path, both=MASKS)
    with pytest.raises(OptionError, match=r"wsol_method fsl_det: One val has no true boxes; .* masks alone will not do"):
        read_run_data(get_config([*words, "--wsol_method", "fsl_det"])[0])
    assert read_run_data(get_config([*words, "--wsol_method", "fsl_seg"])[0]).targets is not None  # one class will do
    words = one_class(tmp_path, both=BOXES, test=MASKS)
    with pytest.raises(OptionError, match="One test has no true boxes"):
        read_run_data(get_config([*words, "--wsol_method", "fsl_det"])[0])


def test_full_supervision_without_any_is_refused(tmp_path):
    words = one_class(tmp_path, both={"localization": []})
    with pytest.raises(OptionError, match="wsol_method fsl_seg: One val has no true masks and no true boxes"):
        read_run_data(get_config([*words, "--wsol_method", "fsl_seg"])[0])


def test_images_that_are_missing_are_found_before_training(tmp_path):
    config, _ = get_config(["--data_root", "nowhere"])
    with pytest.raises(InputError, match="of the train split are missing, so get them"):
        read_run_data(config, ", so get them")
    assert read_run_data({**config, "on_bad_image": "skip"}).truths.keys() == {"val", "test"}


def test_the_run_draws_its_training_images_at_the_level_asked_for():
    drawn = {}
    for where in ("trained", "finest"):
        words = f"--label_level order --num_train_sample_per_class 2 --train_sample_level {where} --eval_test F"
        drawn[where] = read_run_data(get_config(words.split())[0]).splits["train"].image_ids
    assert (len(drawn["trained"]), len(drawn["finest"])) == (4, 32)  # of 2 orders, and of 16 species
