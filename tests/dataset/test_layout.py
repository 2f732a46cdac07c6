import pytest

from dataset.layout import Entry, split_by_name, whole_folder, write_metadata
from wsol.core.errors import InputError


def test_a_folder_that_cannot_take_the_place_of_another_leaves_it(tmp_path, monkeypatch):
    (tmp_path / "old").mkdir()
    (tmp_path / "old/a").write_text("mine")
    with pytest.raises(InputError, match="wrong"), whole_folder(tmp_path / "old") as new:
        new.mkdir()
        raise InputError("wrong")
    with pytest.raises(InputError, match="cannot be written"), whole_folder(tmp_path / "old"):
        pass  # nothing was put into it
    assert [path.name for path in tmp_path.rglob("*")] == ["old", "a"]
    (tmp_path / "link").symlink_to("old")
    with whole_folder(tmp_path / "link") as new:
        new.mkdir()
        (new / "b").write_text("new")
    assert (tmp_path / "link").is_symlink() and [path.name for path in (tmp_path / "old").iterdir()] == ["b"]


def test_splits_by_name_are_disjoint_stable_and_complete():
    names = [f"cat_{i}" for i in range(10)]
    splits = split_by_name(names, {"train": 0.5, "val": 0.2, "test": 0.3})
    assert [len(part) for part in splits.values()] == [5, 2, 3]
    assert sorted(name for part in splits.values() for name in part) == names
    assert splits == split_by_name(reversed(names), {"train": 0.5, "val": 0.2, "test": 0.3})


def test_a_box_that_leaves_its_image_is_not_written(tmp_path):
    entry = Entry("a.jpg", ("x",), (10, 10), [(0, 0, 11, 5)])
    with pytest.raises(InputError, match=r"a\.jpg: box 0,0,11,5; expected it inside the 10 x 10 image"):
        write_metadata(tmp_path / "D", ["level"], [("x",)], {"val": [entry]})
    with pytest.raises(InputError, match="no images are left for the split val"):
        write_metadata(tmp_path / "D", ["level"], [("x",)], {"val": []})
    assert not list(tmp_path.iterdir())
