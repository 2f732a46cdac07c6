import os
import subprocess

import pytest

from wsol.core.errors import InputError
from wsol.core.files import (
    HOST,
    check_folder,
    check_input,
    check_writable,
    read_json,
    read_lines,
    read_text,
    remove_stale_files,
    temporary_sibling,
    whole_file,
    write_json,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "results.json"
    write_text(path, "old")
    with pytest.raises(RuntimeError), whole_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nan_is_no_json_and_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_what_is_no_plain_file_is_refused_and_a_link_is_written_through(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "folder", tmp_path / "file" / "x", "/dev/null"):
        with pytest.raises(InputError, match=r"expected a file|not a writable folder"):
            check_writable(path)
        with pytest.raises(InputError, match=r"expected a file|not a writable folder"):
            write_text(path, "x")
    (tmp_path / "link").symlink_to(tmp_path / "new" / "target")
    write_text(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "new" / "target").read_text() == "x"


def test_litter_of_killed_processes_is_removed_and_nothing_else(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    folder = tmp_path / "Birds"
    ours, elsewhere = temporary_sibling(folder / "a.txt"), folder / f".a.txt.other{HOST}.{dead.pid}.tmp"
    beside = temporary_sibling(tmp_path / "Cats", dead.pid)
    others = [folder / "b.tmp", folder / ".c.tmp", elsewhere, beside]
    litter = [temporary_sibling(folder / "x/a.txt", dead.pid), temporary_sibling(folder, dead.pid) / "train/image_ids.txt"]
    for path in (ours, *others, *litter):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    remove_stale_files(folder)
    assert all(path.exists() for path in (ours, *others)) and not any(path.exists() for path in litter)
    assert sorted(path.name for path in tmp_path.iterdir()) == [beside.name, "Birds"]


@pytest.mark.parametrize("name", ["/dev/zero", "fifo", ".", "absent", "nul\0", "surrogate\udcff", "x" * 300])
@pytest.mark.parametrize("read", [check_input, read_text, read_json, read_lines])
def test_what_is_no_regular_file_is_refused_before_it_is_read(tmp_path, monkeypatch, name, read):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    with pytest.raises(InputError, match=r"regular file|no such file|not a readable file|not a valid file name"):
        read(name)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "9" * 5000, "\xff"])
def test_json_that_cannot_be_read_is_refused_with_its_name(tmp_path, text):
    (tmp_path / "x.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"x\.json: not"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("name", ["x" * 256, "é" * 128, "a\0b", "a\ud800b", "folder/" + "x" * 256 + "/b"])
@pytest.mark.parametrize("refuse", [check_writable, check_folder, lambda path: write_text(path, "x")])
def test_a_name_that_no_file_can_have_is_refused_before_the_work(tmp_path, monkeypatch, name, refuse):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"expected names without NUL, of at most 255 bytes|not a valid file name"
    ) as caught:
        refuse(name)
    assert len(str(caught.value)) < 300 and not list(tmp_path.iterdir())


def test_the_longest_name_is_written_and_its_temporary_one_told_from_others(tmp_path):
    longest, other = tmp_path / ("x" * 255), tmp_path / ("x" * 254 + "y")
    write_text(longest, "1")
    assert longest.read_text() == "1"
    assert temporary_sibling(longest) != temporary_sibling(other)
    assert len(temporary_sibling(longest).name.encode()) < 255


def test_text_that_is_not_utf_8_is_not_written(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(InputError, match=r"a\.txt: not written: 'name \\ud800' cannot be encoded as UTF-8"):
        write_text(tmp_path / "a.txt", "name \ud800")
    assert (tmp_path / "a.txt").read_text() == "old"
