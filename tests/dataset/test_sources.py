import gzip
import hashlib
import io
import tarfile
import zipfile

import numpy as np
import pytest

from dataset.addresses import Official
from dataset.sources import extract, fetch
from wsol.core.errors import InputError


def write_tar(path, *infos):
    with tarfile.open(path, "w") as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return path


def tar_info(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, 1 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (tar_info("../evil.txt"), "points outside the folder"),
        (tar_info("/etc/evil.txt"), "points outside the folder"),
        (tar_info("images/link.txt", tarfile.SYMTYPE, "/etc/passwd"), "link or device"),
        (tar_info("images/hard.txt", tarfile.LNKTYPE, "a.txt"), "link or device"),
        (tar_info("images/null.txt", tarfile.CHRTYPE), "link or device"),
    ],
)
def test_malicious_archives_are_refused(tmp_path, info, message):
    archive = write_tar(tmp_path / "evil.tar", info)
    with pytest.raises(InputError, match=message):
        extract(archive, tmp_path / "out", lambda name: name)
    assert not list(tmp_path.rglob("*.txt"))


def test_malicious_zips_damaged_archives_and_no_archives_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil.txt", "x")
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        info = zipfile.ZipInfo("link.txt")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    (tmp_path / "no.zip").write_text("no archive")
    whole = write_tar(tmp_path / "whole.tar", tar_info("a.txt"), tar_info("b.txt")).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(whole)[:60])
    for name, message in (
        ("evil.zip", "points outside the folder"),
        ("link.zip", "link or device"),
        ("no.zip", "not a .zip or .tar archive"),
        ("cut.tar.gz", "damaged|not a .zip"),
        ("none.zip", "no such archive"),
    ):
        with pytest.raises(InputError, match=message):
            extract(tmp_path / name, tmp_path / "out", lambda name: name)


@pytest.fixture
def content(server):
    """What the server has at /a.zip."""
    content = np.random.default_rng(0).bytes(60_000)
    server[0].folder.mkdir()
    (server[0].folder / "a.zip").write_bytes(content)
    return content


def test_a_broken_download_is_resumed_and_verified(server, content, tmp_path):
    handler, address = server
    folder = tmp_path / "downloads"
    official = Official("a.zip", f"{address}/a.zip", hashlib.md5(content).hexdigest())
    handler.breaks["a.zip"] = 1
    with pytest.raises(InputError, match=rf"could not be downloaded .*put it at {folder}/a\.zip"):
        fetch(official, folder)
    assert [path.name for path in folder.iterdir()] == ["a.zip.part"]
    assert fetch(official, folder).read_bytes() == content
    assert handler.requests == [("a.zip", None), ("a.zip", "bytes=30000-")]
    assert [path.name for path in folder.iterdir()] == ["a.zip"]
    fetch(official, folder)
    assert len(handler.requests) == 2  # what is there is not fetched again


def test_wrong_bytes_are_removed_and_a_dead_address_names_the_file(server, content, tmp_path):
    with pytest.raises(InputError, match="the MD5 is not 00; the download was removed"):
        fetch(Official("a.zip", f"{server[1]}/a.zip", "00"), tmp_path / "downloads")
    assert not list((tmp_path / "downloads").iterdir())
    with pytest.raises(InputError, match=r"put it at .*b\.zip"):
        fetch(Official("b.zip", "http://127.0.0.1:9/b.zip", None), tmp_path)


def test_an_archive_without_an_address_is_named_unless_it_is_there(tmp_path):
    official = Official("c.zip", None, page="https://example.org/sign_in")
    with pytest.raises(InputError, match=r"c\.zip cannot be downloaded .*example\.org/sign_in.*put it at .*c\.zip"):
        fetch(official, tmp_path)
    (tmp_path / "c.zip").write_bytes(b"by hand")
    assert fetch(official, tmp_path) == tmp_path / "c.zip"
