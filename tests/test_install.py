"""The library as `pip install .` leaves it: built into a wheel without network, and imported from another folder."""

import shutil
import subprocess
import sys
import zipfile

import pytest

from conftest import CHECKOUT

USE = """
import torch, wsol
from wsol import build_model
model = build_model("resnet18", "cam", 3).eval()
print(wsol.__file__)
print(*model.score_maps(torch.zeros(1, 3, 64, 64), torch.tensor([2])).shape)
"""


SUFFIXES = (".py", ".typed", ".html", ".css", ".js")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the wheel of a copy of what is installed, which leaves the checkout without files of a build."""
    copy, built = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "main.py", "config.py"):
        shutil.copy(CHECKOUT / name, copy)
    for folder in ("wsol", "dataset", "scripts"):
        for path in (path for path in (CHECKOUT / folder).rglob("*") if path.suffix in SUFFIXES):
            target = copy / path.relative_to(CHECKOUT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", built, copy], check=True, cwd=built)
    (path,) = built.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_library_alone_is_installed_whole(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    own = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "wsol").rglob("*") if path.suffix in SUFFIXES}
    assert names == own and {"wsol/py.typed", "wsol/plots/page/report.html"} < own


@pytest.mark.slow
def test_the_installed_library_works_from_any_folder(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    done = subprocess.run(
        [sys.executable, "-c", USE], cwd=tmp_path, env={"PYTHONPATH": "site"}, capture_output=True, text=True, check=True
    )
    file, shape = done.stdout.splitlines()
    assert file == str(tmp_path / "site/wsol/__init__.py")
    assert shape == "1 4 4"
