"""The specs of scripts/experiments: valid, with the published settings, and as many runs as the docs say."""

import json
import re
from pathlib import Path

import pytest
import yaml

from config import get_config
from conftest import CHECKOUT
from option_tables import training_groups
from scripts.published import PUBLISHED, Published, write_stand_in
from wsol.core.options import by_name
from wsol.sweeps.cost import Assumptions, Images, Operations, plan_cost
from wsol.sweeps.plan import make_plan, to_words
from wsol.sweeps.spec import read_spec

FOLDER = CHECKOUT / "scripts" / "experiments"
SPECS = sorted(FOLDER.rglob("*.yaml"))
TABLE = by_name(training_groups())
OURS = {
    "Toy": Published(384, 128, 192, {"species": 16, "genus": 8, "family": 4, "order": 2}),
    "TinyAnimals": Published(29_500, 1475, 1475, {"category": 59, "order": 35, "class": 14, "phylum": 5}),
    "OxfordPet": Published(3694, 1478, 2217, {"breed": 37, "species": 2}),
}
RUNS = {  # candidates that are not reported, and all that is reported
    "fsl_cub": 3 * 2 * (5 + 1),
    "fsl_ilsvrc": 3 * 2 * (5 + 1),
    "fsl_inatloc500": 2 * (5 + 1),
    "fsl_openimages": 3 * 2 * (5 + 1),
    "glol_appendixA5": 30,
    "glol_figureA1_aircraft": 3 * 5,
    "glol_figureA1_cub": 4 * 5,
    "glol_figureA1_imagenet": 18 * 5,
    "glol_figureA2": 6 * 5,
    "glol_table2_cub": 6 * 5,
    "glol_table2_ilsvrc": 6 * (5 + 1),
    "glol_table2_inatloc500": 6 * 5,
    "glol_table2_openimages": 6 * 5,
    "glol_tableA2_figure3": 5 * 6 * 5 + 5 + 4 * 3 + 6 * 4,
    "levels": 4,
    "oxford_pet_frozen": 2 * 3,
    "oxford_pet": 2 + 2 + 2 * (2 + 3),
    "tiny_animals": 2 * 4 * (2 + 2) + 4 * 3 + 3 * 3,
    "tiny_animals_frozen": 2 * 5 * (3 + 2),
    "tiny_animals_last_blocks": 2 * 4 * 3,
    "tiny_animals_trained": (2 * 4 + 1) * 3,
    "wsole_cub": 6 * 3 * 30,
    "wsole_ilsvrc": 6 * 3 * (30 + 1),
    "wsole_openimages": 6 * 3 * 30,
    "wsole_published_command": 1,
    "small/fsl": 2 * 2 * (2 + 1),
    "small/glol_appendixA5": 3,
    "small/glol_figureA1": 4 * 2,
    "small/glol_figureA2": 4 * 2,
    "small/glol_table2": 6 * (2 + 1),
    "small/glol_tableA2_figure3": 2 * 4 * 2 + 3 + 3 * 2 + 4,
    "small/wsole": 6 * 2 * (2 + 1),
    "small/wsole_published_command": 1,
}


def name_of(path):
    return str(path.relative_to(FOLDER).with_suffix(""))


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """A metadata folder to plan with."""
    root = tmp_path_factory.mktemp("metadata")
    for name, one in {**PUBLISHED, **OURS}.items():
        write_stand_in(root / name, one)
    return root


def plan_of(path, root):
    return make_plan(read_spec(path, TABLE, {"metadata_root": str(root)}), TABLE, Path("train_log"))


def taken_by_main(plan, run):
    """Check that main.py takes a run's options, but for files that another run is to leave."""
    options = {name: value for name, value in run.options.items() if name not in ("pretrained_path", "thresholds_from")}
    get_config([*to_words(options), "--experiment_name", f"{plan.spec.name}/{run.name}", "--eval_test", "FALSE"])


def test_every_spec_is_counted():
    assert {name_of(path) for path in SPECS} == RUNS.keys()


@pytest.mark.parametrize("path", SPECS, ids=name_of)
def test_a_spec_is_planned_and_main_takes_its_runs(path, stand_ins):
    plan = plan_of(path, stand_ins)
    one_each = (lambda options: {"epochs": 1, **options}, lambda _: Images(1, 1, 1), lambda _: Operations(1, 1))
    cost = plan_cost(plan, *one_each, Assumptions(1, 1, 1, 0))
    assert cost.runs == RUNS[name_of(path)]
    for point in plan.points:
        candidates = plan.candidates(point)
        chosen = candidates[0].chosen if candidates else {}
        for run in (*candidates[:2], *plan.reported(point, chosen)):
            taken_by_main(plan, run)


@pytest.mark.parametrize("path", SPECS, ids=name_of)
def test_a_spec_says_what_it_reproduces_from_where_and_what_is_ours(path):
    header = path.read_text().split("\n\n")[0]
    assert header.startswith("# ")
    if path.parent == FOLDER:
        assert "# Ours: " in header and ("# Source: " in header or "Ours: everything" in header)
        docs = (CHECKOUT / "docs/experiments.md").read_text()
        row = re.search(rf"^\| `?{path.stem}`? .*$", docs, re.MULTILINE)
        assert row and f"| {RUNS[path.stem]} |" in row.group()


def test_the_published_settings(shared):
    facts = json.loads((shared / "facts.json").read_text())
    methods = {"has": "HaS", "acol": "ACoL", "spg": "SPG", "adl": "ADL", "cutmix": "CutMix", "cam": "CAM"}
    for stem in ("glol_table2_inatloc500", "glol_table2_ilsvrc", "glol_tableA2_figure3"):
        spec = read_spec(FOLDER / f"{stem}.yaml", TABLE)
        assert set(spec.vary["wsol_method"]) == methods.keys() - ({"acol"} if stem.startswith("glol_tableA2") else set())
        for case in spec.cases:
            (method,) = case.where["wsol_method"]
            assert case.options == facts["glol_tableA4_hyperparameters"][methods[method]]
        assert sorted(spec.choose.grid["lr"], reverse=True) == facts["glol_learning_rates_searched"]
        assert (spec.options["weight_decay"], spec.options["batch_size"], spec.options["large_feature_map"]) == (
            1e-4,
            32,
            True,
        )
    assert (spec.options["epochs"], spec.options["lr_decay_frequency"]) == (2, 2)
    budgets = {"cub": "CUB", "openimages": "OpenImages", "ilsvrc": "ILSVRC"}
    for stem, name in budgets.items():
        for path in (FOLDER / f"glol_table2_{stem}.yaml", FOLDER / f"wsole_{stem}.yaml"):
            options = read_spec(path, TABLE).options
            assert facts["wsole_budgets"][name].startswith(
                f"{options['epochs']} epochs, /10 every {options['lr_decay_frequency']}"
            )


def test_the_published_command(shared):
    """Every option of it, of the README of wsolevaluation."""
    readme = (shared / "seeds/evaluating_wsol_methods_right_readme.txt").read_text(encoding="utf-8")
    text = readme[readme.index("python main.py --dataset_name OpenImages") :].split("\nSee ")[0]
    words = text.replace("\\\n", " ").split()[2:]
    published, _ = get_config(words)
    options = read_spec(FOLDER / "wsole_published_command.yaml", TABLE).options
    ours, _ = get_config(to_words(options))
    assert published.num_val_sample_per_class == 5
    free = {"experiment_name": "", "workers": 4, "save_scoremaps": ""}  # workers: the command says 4; ours are the machine's
    assert {**ours, **free} == {**published, **free}


def test_the_random_search_has_the_ranges_of_the_original_protocol(stand_ins):
    plan = plan_of(FOLDER / "wsole_cub.yaml", stand_ins)
    for point in plan.points:
        drawn = [run.chosen for run in plan.candidates(point)]
        assert len(drawn) == 30 and all(1e-5 <= one["lr"] <= 1 for one in drawn)
        assert {one["large_feature_map"] for one in drawn} == {True, False}
        method = point.values["wsol_method"]
        assert all(name in ("lr", "large_feature_map") or name.startswith(f"{method}_") for one in drawn for name in one)
        if method == "spg":
            assert all(
                0 <= one[f"spg_threshold_{i}l"] <= one[f"spg_threshold_{i}h"] <= 1 for one in drawn for i in (1, 2, 3)
            )
        if method == "cutmix":
            assert all(one["cutmix_beta"] >= 0 for one in drawn) and max(one["cutmix_beta"] for one in drawn) > 1
    assert yaml.safe_load((FOLDER / "wsole_cub.yaml").read_text())["choose"]["random"]["draws"] == 30


def parts_of(spec):
    """Return which options vary, are chosen and are reported, without their values."""
    choose = spec.choose
    blocks = [(set(b.where), set(b.vary), set(b.options), bool(b.cam_agg_levels)) for b in spec.report]
    return set(spec.vary), choose and ({*choose.grid}, {*choose.ranges}), blocks


def test_twins_have_the_blocks_of_the_specs_that_they_stand_for():
    docs = (CHECKOUT / "docs/experiments.md").read_text()
    pairs = re.findall(r"^\| `(\w+)` .*`(small/\w+)` \|$", docs, re.MULTILINE)
    assert {twin for _, twin in pairs} == {name for name in RUNS if name.startswith("small/")}
    for name, twin in pairs:
        if name != "fsl_openimages":  # its numbers of val images vary too, and it has no detector
            one, other = (read_spec(FOLDER / f"{stem}.yaml", TABLE) for stem in (name, twin))
            assert parts_of(one) == parts_of(other), name


def test_the_examples_of_the_docs_are_specs_of_a_data_set_that_is_there(stand_ins, tmp_path):
    """docs/sweeps.md: the whole spec; its grid replaced by the random search; its `run` replaced by the cluster's."""
    docs = (CHECKOUT / "docs/sweeps.md").read_text()
    whole, search, cluster = re.findall(r"```yaml\n(.*?)```", docs, re.DOTALL)
    chosen, run = whole.index("choose:"), whole.index("run:")
    texts = [whole, whole[:chosen] + search + whole[whole.index("report:") :], whole[:run] + cluster]
    for text, candidates in zip(texts, (2, 30, 2), strict=True):
        (tmp_path / "s.yaml").write_text(text)
        plan = plan_of(tmp_path / "s.yaml", stand_ins)
        assert {point.values["label_level"] for point in plan.points} == OURS["TinyAnimals"].levels.keys()
        for point in plan.points:
            runs = plan.candidates(point)
            assert len(runs) == candidates
            for each in (runs[0], *plan.reported(point, runs[0].chosen)):
                proxy = each.options.get("proxy_training_set", False)
                assert (stand_ins / "TinyAnimals/train/image_ids_proxy.txt").is_file() or not proxy
                taken_by_main(plan, each)
    submitit = pytest.importorskip("submitit")
    parameters = {name: value for name, value in plan.spec.run.submitit.items() if name != "cluster"}
    submitit.AutoExecutor(tmp_path, cluster="local").update_parameters(**parameters)
