"""The data of a run, checked before anything is trained."""

import pytest

from config import get_config
from samples import write_split
from wsol.core.errors import InputError, OptionError
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
