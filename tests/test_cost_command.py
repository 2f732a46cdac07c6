"""scripts/cost.py: the published numbers of images, what it prints, and docs/costs.md."""

import re

import pytest

from conftest import CHECKOUT, run
from scripts.cost import ASSUMED, Estimator, cost_row
from scripts.published import PUBLISHED, published_images, write_stand_in
from wsol.data.levels import load_level
from wsol.runs.run_tables import markdown_table
from wsol.sweeps.cost import Assumptions, Operations

DOCS = CHECKOUT / "docs/costs.md"
FOLDER = CHECKOUT / "scripts/experiments"


def images_of(name, **options):
    defaults = {"label_level": None, "proxy_training_set": False, "train_sample_level": "trained"}
    drawn = {"num_train_sample_per_class": 0, "num_val_sample_per_class": 0}
    return published_images({"dataset_name": name, **defaults, **drawn, **options})


def test_published_images():
    assert images_of("CUB").train == 5994 and images_of("CUB", label_level="family").train == round(5994 * 188 / 200)
    assert images_of("iNatLoc500", label_level="family", num_train_sample_per_class=50).train == 9200  # section 5.4
    assert images_of("iNatLoc500", label_level="family", num_train_sample_per_class=1000).train == 138_000
    assert images_of("ILSVRC", proxy_training_set=True).train == 128_117
    drawn = {"num_train_sample_per_class": 200}
    assert images_of("ILSVRC", label_level="c17", **drawn).train == 400
    assert images_of("ILSVRC", label_level="c17", train_sample_level="finest", **drawn).train == 927 * 200
    assert images_of("OpenImages", num_val_sample_per_class=5).val == 500


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_stand_in_has_the_published_levels(name, tmp_path):
    write_stand_in(tmp_path / name, PUBLISHED[name])
    for level, classes in PUBLISHED[name].levels.items():
        data = load_level(tmp_path, name, level, ("train", "val"))
        assert len(data.class_names) == classes
    assert data.levels == list(PUBLISHED[name].levels)


def test_the_command_counts_a_spec_on_toy(workspace):
    text = run("scripts/cost.py", FOLDER / "small/wsole_published_command.yaml", "--peak", "1", cwd=workspace)
    (row,) = re.findall(r"^\| wsole_published_command .*", text, re.MULTILINE)
    runs, mapped_only, trained, mapped, _ = (cell.strip() for cell in row.strip("| ").split("|")[1:])
    assert (runs, mapped_only, trained, mapped) == ("1", "0", "0.0", "0.0")
    assert re.search(r"^\| resnet18 +\| cam +\| large +\| 32 ", text, re.MULTILINE)
    assert "--peak 0: expected a number above 0" in run("scripts/cost.py", "x.yaml", "--peak", "0", cwd=workspace, code=2)
    other = workspace / "other.yaml"
    other.write_text("options: {dataset_name: Elsewhere}\n")
    assert "no metadata of a data set 'Elsewhere'" in run("scripts/cost.py", other, cwd=workspace, code=2)


def documented_operations():
    cells = r"(\S+) +\| (\S+) +\| (large|small) +\| (\d+) +\| ([\d.]+) +\| ([\d.]+)"
    rows = re.findall(rf"^\| {cells} +\|$", DOCS.read_text(), re.MULTILINE)
    return {
        (architecture, method, size == "large", int(crop)): Operations(float(train) * 1e9, float(forward) * 1e9)
        for architecture, method, size, crop, train, forward in rows
    }


def test_the_documented_costs_follow_from_the_documented_operations(tmp_path):
    """So a change of a spec, of the planner or of an assumption shows here; the networks are not built again."""
    peak, utilisation, loaded, seconds = (default for default, _ in ASSUMED.values())
    estimator = Estimator(Assumptions(peak * 1e12, utilisation, loaded, seconds), tmp_path)
    estimator.operations = documented_operations()
    specs = sorted(path for path in FOLDER.glob("*.yaml") if path.stem.split("_")[0] in ("fsl", "glol", "wsole"))
    rows = [cost_row(path.stem, estimator.cost(path)) for path in specs]
    assert estimator.operations == documented_operations()
    documented = dict(re.findall(r"^\| ((?:fsl|glol|wsole)\w+) +\|(.*)\|$", DOCS.read_text(), re.MULTILINE))
    assert documented.keys() == {path.stem for path in specs}
    for row in rows:
        shown = [float(cell) for cell in documented[row["spec"]].split("|")]
        assert shown == pytest.approx([float(value) for value in list(row.values())[1:]], rel=0.01, abs=0.06), row["spec"]
    assert markdown_table(rows).splitlines()[0] in DOCS.read_text()
