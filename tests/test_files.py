import numpy as np
import pytest

from wsol.files import save_npy, whole_file, write_json, write_text


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


def test_npy_keeps_its_name_and_makes_folders(tmp_path):
    save_npy(tmp_path / "a" / "b.jpg.npy", np.eye(3))
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.jpg.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "a" / "b.jpg.npy"), np.eye(3))
