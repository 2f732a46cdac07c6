"""Several levels at once: how they are named, and how the classes of one follow from those of the first."""

import numpy as np
import pytest

from samples import write_split
from wsol.core.errors import OptionError
from wsol.data.level_set import TrainedLevel, check_map_level, joined, level_names, trained_levels, with_labels_at
from wsol.data.levels import load_level

KNOWN = ["species", "genus", "family", "red, blue"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, ()),
        ("genus", ("genus",)),
        ("nope", ("nope",)),  # which whoever reads that level refuses
        ("genus,species", ("genus", "species")),
        ("red, blue", ("red, blue",)),  # the name of one level
    ],
)
def test_levels_by_name(text, names):
    assert level_names(text, KNOWN) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("species,genuss", "label_level species,genuss: 'genuss' is no level of the data set"),
        ("species, genus", "' genus' is no level"),
        ("species,", "'' is no level"),
        ("genus,species,genus", "a level is named twice"),
    ],
)
def test_what_names_no_levels_is_refused(text, message):
    with pytest.raises(OptionError) as refused:
        level_names(text, KNOWN)
    assert message in str(refused.value)


def test_a_level_called_mean_is_refused_beside_others():
    assert level_names("mean", ["mean", "b"]) == ("mean",)
    with pytest.raises(OptionError, match="which map_level takes for the mean"):
        level_names("mean,b", ["mean", "b"])


def test_the_name_of_several_says_whose_maps_are_used():
    assert joined(["a", "b"]) == joined(["a", "b"], "a") == "a+b"
    assert (joined(["a", "b"], "b"), joined(["a", "b"], "mean")) == ("b of a+b", "mean of a+b")


def levels(*of_first):
    return [TrainedLevel(f"level{number}", ["a", "b"], [0, 1], one) for number, one in enumerate(of_first)]


def test_a_map_level_is_one_of_the_levels_or_their_mean():
    for name in (None, "level0", "level1", "mean"):
        check_map_level(name, levels([0, 1], [0, 0]))
    check_map_level(None, ())
    for given, name, message in (
        ((), "mean", "map_level mean: expected it only with levels that are learned at once"),
        (levels([0, 1], [0, 0]), "level2", "map_level level2: expected one of level0, level1, or mean"),
        (levels([0, 1], None), "mean", "a class of the first level, level0, has several at level level1"),
    ):
        with pytest.raises(OptionError, match=message):
            check_map_level(name, given)


@pytest.fixture
def leaving_out(tmp_path):
    """Four species; one of them, "stray", has no genus."""
    folder = tmp_path / "metadata/Birds"
    species = {"a": 0, "b": 1, "c": 2, "d": 3}
    for split in ("train", "val"):
        ids = [f"{split}/{name}.jpg" for name in species]
        write_split(
            folder / split,
            image_ids=ids,
            class_labels=[f"{i},{label}" for i, label in zip(ids, species.values(), strict=True)],
            class_labels_genus=[f"{i},{label}" for i, label in zip(ids, (7, 7, 3), strict=False)][::-1],
            image_sizes=[f"{i},9,9" for i in ids],
            localization=[f"{i},0,0,3,3" for i in ids],
        )
    (folder / "levels.txt").write_text("species\ngenus\n")
    (folder / "class_names.txt").write_text("crow,0\njay,1\nowl,2\nstray,3\n")
    (folder / "class_names_genus.txt").write_text("owls,3\ncorvids,7\n")
    return tmp_path / "metadata"


@pytest.mark.parametrize("first", ["species", "genus"])
def test_the_labels_at_every_level_and_the_classes_that_hold_those_of_the_first(leaving_out, first):
    names = ("species", "genus") if first == "species" else ("genus", "species")
    data = [load_level(leaving_out, "Birds", name, ("train", "val")) for name in names]
    train = with_labels_at(data[0].splits["train"], [one.splits["train"] for one in data])
    found = trained_levels(data, leaving_out, "Birds", data[0].levels)
    assert [one.level for one in found] == list(names)
    assert {one.level: one.class_names for one in found}["genus"] == ["owls", "corvids"]
    if first == "species":
        assert train.at_levels.tolist() == [[0, 1], [1, 1], [2, 0], [3, -1]]
        assert [one.of_first for one in found] == [[0, 1, 2, 3], [1, 1, 0, -1]]
    else:  # the stray is no image of the first level, and a genus has several species
        assert list(train.image_ids) == ["train/a.jpg", "train/b.jpg", "train/c.jpg"]
        assert train.at_levels.tolist() == [[1, 0], [1, 1], [0, 2]]
        assert [one.of_first for one in found] == [[0, 1], None]
    assert train.at_levels.dtype == np.int64 and np.array_equal(train.at_levels[:, 0], train.labels)
    assert TrainedLevel.from_dict(found[1].to_dict()) == found[1]
