"""The example of docs/evaluation.md, as it stands there, and the pointing game."""

import json
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import CHECKOUT, run
from wsol.core import registry
from wsol.core.files import write_text
from wsol.metrics.pointing_game import pointing_game

TEXT = (CHECKOUT / "docs" / "evaluation.md").read_text(encoding="utf-8")


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The example's file, importable, and its line in the registry."""
    code = re.search(r"`wsol/metrics/energy\.py`:\n\n```python\n(.*?)```", TEXT, flags=re.DOTALL)[1]
    name, entry = re.search(
        r'in `METRICS` of `wsol/core/registry\.py`:\n\n```python\n    "(\w+)": "(.*?)",\n```', TEXT
    ).groups()
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    write_text(tmp_path / "modules/example_energy.py", code)
    monkeypatch.setitem(registry.METRICS, name, entry.replace("wsol.metrics.energy", "example_energy"))
    yield name
    sys.modules.pop("example_energy", None)


def test_the_new_metric_is_printed_and_written(example, workspace):
    ids = (workspace / "metadata/Toy/val/image_ids.txt").read_text().splitlines()
    rng = np.random.default_rng(0)
    expected = []
    boxes = {
        line.rsplit(",", 4)[0]: list(map(int, line.rsplit(",", 4)[1:]))
        for line in (workspace / "metadata/Toy/val/localization.txt").read_text().splitlines()
    }
    sizes = {
        line.rsplit(",", 2)[0]: list(map(int, line.rsplit(",", 2)[1:]))
        for line in (workspace / "metadata/Toy/val/image_sizes.txt").read_text().splitlines()
    }
    for image_id in ids:
        width, height = sizes[image_id]
        score_map = np.outer(np.bartlett(height), np.bartlett(width)) ** (0.5 + rng.random())
        path = workspace / "maps" / f"{image_id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, score_map)
        x0, y0, x1, y1 = boxes[image_id]
        expected.append(score_map[y0 : y1 + 1, x0 : x1 + 1].sum() / score_map.sum())
    words = ("--dataset_name", "Toy", "--scoremap_root", "maps", "--metrics", example, "pointing_game", "--bootstrap", "0")
    printed = run("evaluation.py", *words, "--json", "out.json", cwd=workspace)
    values = json.loads((workspace / "out.json").read_text())["metrics"]
    assert values["energy"] == pytest.approx(100 * np.mean(expected)) and 0 < values["pointing_game"] < 100
    assert f"energy  {values['energy']:.2f}\npointing_game  {values['pointing_game']:.2f}" in printed
    center = run("evaluation.py", "--center", "--metrics", "pointing_game", "--bootstrap", "0", cwd=workspace)
    assert "pointing_game  " in center


def two(score_map, true_boxes):
    return 2


def test_an_unknown_metric_and_one_out_of_range_are_refused(workspace, monkeypatch, tmp_path):
    assert "pointing_game" in run("evaluation.py", "--center", "--metrics", "nope", cwd=workspace, code=2)
    monkeypatch.setitem(registry.METRICS, "half", f"{__name__}:two")
    said = run("evaluation.py", "--center", "--metrics", "half", "--bootstrap", "0", cwd=workspace, code=2)
    assert "the metric half gave" in said, said and "expected a number from 0 to 1" in said


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_pointing_game_is_a_look_at_the_first_maximum(height, width, seed):
    rng = np.random.default_rng(seed)
    score_map = rng.integers(0, 3, (height, width)) / 2
    corners = [np.sort(rng.integers(0, (width, height), (2, 2)), axis=0).ravel() for _ in range(2)]
    first = next((x, y) for y in range(height) for x in range(width) if score_map[y, x] == score_map.max())
    hit = any(x0 <= first[0] <= x1 and y0 <= first[1] <= y1 for x0, y0, x1, y1 in corners)
    assert pointing_game(score_map, np.array(corners)) == hit
