import base64
import contextlib
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from browser import CHROMIUM, FLAGS, needs_chromium
from conftest import SMALL, TINY, link_toy, run
from wsol.core.errors import InputError
from wsol.core.files import read_json, write_json
from wsol.metrics.images_file import read_images
from wsol.plots.report import build_page, render, rendered_within
from wsol.sweeps.collection import collect

LEVELS = ("family", "order")
EXAMPLES = 6
SCRIPT = "<script>alert(1)</script>"
MARK = "seed added after test was opened"


def name_of(level):
    return f"cam-{level}-seed0"


def add_unfinished(sweep, name, **record):
    """A run without results, like one that has failed."""
    finished, folder = sweep / name_of("order"), sweep / name
    folder.mkdir()
    shutil.copy(finished / "config.yaml", folder)
    write_json(folder / "run.json", read_json(finished / "run.json") | record)


@pytest.fixture(scope="module")
def root(toy_root, tmp_path_factory):
    """A folder with a sweep of two finished runs, one that failed and one that runs; and its report."""
    root = tmp_path_factory.mktemp("report")
    link_toy(toy_root, root)
    sweep = root / "train_log" / "toy"
    for level in LEVELS:
        words = ("--label_level", level, "--experiment_name", f"toy/{name_of(level)}", "--save_scoremaps", "none")
        run("main.py", *TINY, *SMALL, "--pretrained", "F", "--bootstrap", "20", *words, cwd=root)
    add_unfinished(sweep, "spg-order-seed0", state="failed", error=f"not enough memory {SCRIPT}", progress="epoch 0 of 1")
    add_unfinished(sweep, "spg-family-seed0", state="running", end=None)
    times = {"intended": "2026-11-30T15:40:00+00:00", "opened": "2026-11-30T15:41:00+00:00"}
    choice = {"options": {"lr": 0.01}, "figure": "MaxBoxAccV2", "fullsup_images": 32, "fullsup_boxes": 35, "time": None}
    choices = {
        f"cam-{level}": {
            **choice,
            "run": f"cam-{level}-lr0.01-seed0",
            "candidates": {f"cam-{level}-lr0.01-seed0": 18.25, f"cam-{level}-lr0.001-seed0": 15.5},
        }
        for level in LEVELS
    }
    opened = {
        name_of(level): {
            "point": f"cam-{level}",
            "chosen": "lr 0.01",
            "seed": 0,
            "sha256": "0" * 64,
            **times,
            "marks": [MARK] if level == "order" else [],
        }
        for level in LEVELS
    }
    record = {"format": 1, "name": "toy", "spec": {}, "created": "2026-11-30T15:00:00+00:00"}
    record |= {"levels_alike": {"Other": {"kingdom": "order"}}}
    record |= {"choices": choices, "reported": {name_of(level): f"cam-{level}" for level in LEVELS}}
    write_json(sweep / "protocol.json", record | {"test": {"seeds": [0], "runs": opened}})
    said = run("scripts/report.py", "train_log/toy", "--output", "toy.html", "--examples", EXAMPLES, cwd=root)
    assert f"{EXAMPLES * len(LEVELS)} example maps" in said
    return root


@pytest.fixture(scope="module")
def page(root):
    folder = Path("train_log/toy")
    with contextlib.chdir(root):
        return build_page(folder, collect([folder]), EXAMPLES, 0, torch.device("cpu"))


class Elements(HTMLParser):
    """The attributes of all elements, and every table as rows of texts, by its name."""

    def __init__(self, text):
        super().__init__()
        self.attributes, self.tables, self._cells = [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag == "table":
            self._rows = self.tables[named["aria-label"]] = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
            self._cells = self._rows[-1]

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cells = None

    def handle_data(self, data):
        if self._cells is not None:
            self._cells[-1] += data


@pytest.fixture
def elements(root):
    return Elements((root / "toy.html").read_text())


def as_dicts(table):
    return [dict(zip(table[0], row, strict=True)) for row in table[1:]]


def test_the_page_needs_nothing_else(root, elements):
    loaded = [value for _, name, value in elements.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert loaded and all(value.startswith(("data:", "#")) for value in loaded)
    text = (root / "toy.html").read_text()
    assert "url(" not in text and "@import" not in text and "default-src 'none'" in text
    assert len(text.encode()) < 20e6


def test_tables_have_the_figures_of_the_runs(root, elements):
    rows = as_dicts(elements.tables["runs"])
    assert [(row["run"], row["split"]) for row in rows] == [(name_of(one), s) for one in LEVELS for s in ("test", "val")]
    for row in rows:
        results = read_json(root / "train_log/toy" / row["run"] / "results.json")[row["split"]]
        low, high = results["intervals"]["MaxBoxAccV2"]
        assert row["MaxBoxAccV2"] == f"{results['MaxBoxAccV2']:.2f} {low:.1f} to {high:.1f}"
        assert row["IoU 70"].startswith(f"{results['MaxBoxAcc']['70']:.2f} ")
        assert row["Top-1 Cls"].startswith(f"{results['top1_cls']:.2f} ")
        assert row["marks"] == (MARK if row["run"] == name_of("order") and row["split"] == "test" else "-")
    (levels,) = [table for name, table in elements.tables.items() if name.startswith("Methods and label levels")]
    by_method = {row["method"]: row for row in as_dicts(levels)}
    expected = read_json(root / "train_log/toy" / name_of("family") / "results.json")["test"]["MaxBoxAccV2"]
    assert by_method["CAM"]["family"] == f"{expected:.1f}" and "Center" in by_method and "HaS" not in by_method


def test_the_protocol_is_shown(root, elements):
    assert "Other: level kingdom has the classes of order: trained once, shown twice." in (root / "toy.html").read_text()
    (chosen, other, *_) = as_dicts(elements.tables["choices"])
    assert (chosen["on val"], chosen["choice"], other["on val"], other["choice"]) == (
        "18.25",
        "chosen: lr 0.01",
        "15.50",
        "-",
    )
    assert chosen["full supervision"] == "32 images, 35 boxes"
    opened = {row["run"]: row for row in as_dicts(elements.tables["test"])}
    assert opened[name_of("order")]["marks"] == MARK
    assert opened[name_of("family")]["opened"] == "2026-11-30 15:41:00 UTC"


def test_runs_without_results_are_listed_with_the_reason_and_nothing_is_run(root, elements):
    rows = {row["run"]: row for row in as_dicts(elements.tables["runs without results"])}
    failed = rows["spg-order-seed0"]
    assert (failed["state"], failed["reason"]) == ("failed", f"not enough memory {SCRIPT}")  # unescaped by the parser
    assert rows["spg-family-seed0"]["state"] == "unfinished"
    assert SCRIPT not in (root / "toy.html").read_text()


def test_options_that_differ_stand_apart_from_the_others(elements):
    assert elements.tables["options that differ"][0] == ["run", "label_level"]
    common = dict(elements.tables["common options"][1:])
    assert common["architecture"] == "timm:test_efficientnet" and "label_level" not in common


def test_a_box_is_right_where_the_evaluation_counted_it(root, page):
    assert [one.level for one in page.examples] == [level for level in LEVELS for _ in range(EXAMPLES)]
    for level in LEVELS:
        folder = root / "train_log/toy" / name_of(level)
        file = read_images(folder / "test_images.npz")
        threshold = read_json(folder / "results.json")["val"]["best_threshold"]["50"]
        column, row = round(threshold / file.settings["cam_curve_interval"]), file.settings["iou_threshold_list"].index(50)
        for one in (one for one in page.examples if one.level == level):
            scored = file.images[one.image_id]
            right = np.unpackbits(scored.counts_of("boxes"), axis=1)[row, column]
            assert one.box == ("right" if right else "wrong")
            assert one.label == ("right" if scored.rank == 0 else "wrong")
            assert one.class_name == one.finest_class.rsplit("-", {"family": 2, "order": 3}[level])[0]
            assert Image.open(io.BytesIO(one.jpeg)).size == one.size


def test_a_large_page_gets_smaller_then_fewer_pictures(page):
    def noise(one):
        stream = io.BytesIO()
        pixels = np.random.default_rng(one.number).integers(256, size=(224, 224, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(stream, "JPEG", quality=95)
        return replace(one, jpeg=stream.getvalue(), size=(224, 224))

    large = replace(page, examples=[noise(one) for one in page.examples])
    without = len(render(replace(page, examples=())).encode())
    sizes, kept = [], []
    for most in (10**7, without + 400_000, without + 80_000):
        text, said = rendered_within(large, most)
        pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", text)
        sizes.append(Image.open(io.BytesIO(base64.b64decode(pictures[0]))).width)
        kept.append(len(pictures))
        assert len(text.encode()) < most and (said in text) and bool(said) == (most < 10**7)
    assert sizes[0] == 224 > sizes[1] and kept[0] == kept[1] > kept[2] > 0
    with pytest.raises(InputError, match="expected fewer runs"):
        rendered_within(large, without // 2)


def test_the_same_runs_give_the_same_page(root, page):
    assert rendered_within(page)[0] == (root / "toy.html").read_text()


def test_only_what_is_there_is_explained(page):
    assert any(
        note.startswith("Fig. 4, Toy: no runs that differ in num_train_sample_per_class") for note in page.figure_notes
    )
    bare = replace(page.runs, rows=[[replace(cell, note="") for cell in row] for row in page.runs.rows])
    said = "95 % bootstrap intervals"
    assert said in rendered_within(page)[0] and said not in rendered_within(replace(page, runs=bare))[0]


def test_runs_outside_a_sweep_have_a_report_too(root, tmp_path):
    shutil.copytree(root / "train_log/toy" / name_of("order"), tmp_path / "runs" / "one")
    said = run("scripts/report.py", tmp_path / "runs", "--output", tmp_path / "a.html", "--examples", "0", cwd=root)
    text = (tmp_path / "a.html").read_text()
    assert "There is no protocol.json" in text and "1 of 1 runs have results of test" in text and ", 0 example maps" in said


def test_outputs_that_would_replace_something_are_refused(root):
    def refused(output, folder="train_log/toy"):
        return run("scripts/report.py", folder, "--output", output, cwd=root, code=2)

    before = (root / "toy.html").read_bytes()
    assert "exists; expected a new file" in refused("toy.html")
    assert "expected a name that ends in .html" in refused("toy.txt")
    assert "holds data" in refused(f"train_log/toy/{name_of('order')}/a.html")
    assert "no such folder" in refused("b.html", "train_log/none")
    (root / "empty").mkdir(exist_ok=True)
    assert "no finished run" in refused("b.html", "empty")
    assert (root / "toy.html").read_bytes() == before and not (root / "b.html").exists()


def loaded(text, tmp_path, fragment="", script=""):
    """Return (a page's elements, what its scripts complained about) after Chromium has run its scripts, and `script`."""
    shown = tmp_path / "shown.html"
    shown.write_text(text.replace("</body>", f"<script>{script}</script></body>"))
    words = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
        "--dump-dom",
        f"{shown.as_uri()}{fragment}",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


@needs_chromium
def test_in_a_browser_it_filters_and_sorts_without_a_complaint(root, tmp_path):
    click = """
      const table = document.querySelector('table[aria-label="runs"]'), data = document.body.dataset;
      const head = [...table.tHead.rows[0].cells].find((one) => one.textContent === "MaxBoxAccV2");
      const keyOf = (row) => Number(row.cells[head.cellIndex].dataset.key);
      const keys = () => JSON.stringify([...table.tBodies[0].rows].map(keyOf));
      head.querySelector("button").click();
      data.up = keys();
      head.querySelector("button").click();
      data.down = keys();
      data.shown = [...document.querySelectorAll(".examples figure")].filter((one) => one.offsetHeight).length;
    """
    text, complaints = loaded((root / "toy.html").read_text(), tmp_path, "#level=order", click)
    assert complaints == []
    body = {name: value for tag, name, value in Elements(text).attributes if tag == "body"}
    up, down = json.loads(body["data-up"]), json.loads(body["data-down"])
    assert len(up) == 4 and up == sorted(up) and down == sorted(up, reverse=True) != up
    assert body["data-shown"] == str(EXAMPLES) and f"{EXAMPLES} of {2 * EXAMPLES} maps" in text


@needs_chromium
def test_nothing_is_wider_than_a_desktop_or_a_phone(root, tmp_path):
    """In frames: Chromium's own window is never narrower than 500 pixels."""
    text = json.dumps((root / "toy.html").read_text()).replace("</", "<\\/")
    frames = f"""<!DOCTYPE html><body><script>
      for (const width of [390, 1280]) {{
        const frame = document.createElement("iframe");
        frame.width = width;
        frame.onload = () => {{
          const page = frame.contentDocument.documentElement;
          document.body.dataset[`over${{width}}`] = page.scrollWidth - page.clientWidth;
          document.body.dataset[`tables${{width}}`] = page.querySelectorAll("table").length;
        }};
        frame.srcdoc = {text};
        document.body.append(frame);
      }}
    </script></body>"""
    shown, complaints = loaded(frames, tmp_path)
    body = {name: value for tag, name, value in Elements(shown).attributes if tag == "body"}
    assert (body["data-over390"], body["data-over1280"]) == ("0", "0") and complaints == []
    assert int(body["data-tables390"]) == int(body["data-tables1280"]) > 5


@needs_chromium
def test_the_test_would_see_an_error_of_a_script(root, tmp_path):
    assert loaded((root / "toy.html").read_text(), tmp_path, script="undefinedName();")[1]
