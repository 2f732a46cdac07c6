from pathlib import Path

import pytest

from option_tables import training_groups
from wsol.core.errors import InputError
from wsol.core.options import by_name
from wsol.sweeps.spec import FINEST, matches, read_spec

TABLE = by_name(training_groups())


def spec_of(tmp_path: Path, text: str, **overrides: object):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return read_spec(path, TABLE, overrides)


def test_values_have_the_types_of_the_options_and_the_name_is_the_files(tmp_path):
    spec = spec_of(
        tmp_path,
        "options: {epochs: 3, large_feature_map: yes, amp: off, iou_threshold_list: [30, 50]}\n"
        "vary:\n  wsol_method: [cam, has]\n  label_level: all\n"
        "choose:\n  grid: {lr: [1e-2, 1e-3]}\n  seed: 4\n"
        "report:\n  - seeds: [0, 1]\n    where: {label_level: finest}\n"
        "run: {jobs: 2, submitit: {cluster: local, timeout_min: 5}}\n",
        epochs=5,
    )
    assert spec.name == "study"
    assert spec.options == {"epochs": 5, "large_feature_map": True, "amp": "off", "iou_threshold_list": [30, 50]}
    assert spec.tree["options"] == {
        "epochs": "5",
        "large_feature_map": "True",
        "amp": "off",
        "iou_threshold_list": "30 50",
    }
    assert spec.choose.grid == {"lr": (0.01, 0.001)} and spec.choose.seed == 4
    assert spec.report[0].seeds == (0, 1) and spec.report[0].where == {"label_level": (FINEST,)}
    assert spec.run.jobs == 2 and spec.run.submitit == {"cluster": "local", "timeout_min": 5}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("- a\n", "expected lines of"),
        ("options: {lr: 0.1, lr: 0.2}\n", "is there twice"),
        ("option: {lr: 0.1}\n", "option: unknown entry; did you mean options?"),
        ("options: {lrr: 0.1}\n", "options.lrr: no option of main.py; did you mean lr?"),
        ("options:\n  lr: fast\n", ":2: options.lr: 'fast' is invalid"),
        ("options: {lr: [0.1, 0.2]}\n", "expected one value"),
        ("options: {experiment_name: a}\n", "the sweep sets it"),
        ("options: {seed: 1}\n", "expected seeds in the blocks of report"),
        ("vary: {lr: [0.1, 0.1]}\n", "is there twice"),
        ("vary: {iou_threshold_list: [30]}\n", "cannot vary"),
        ("vary: {label_level: [all, genus]}\n", "all alone"),
        ("choose: {seed: 1}\n", "expected either grid or random"),
        ("choose: {grid: {}}\n", "expected an option and its values"),
        ("choose: {grid: {lr: 1}, figure: best}\n", "expected one of MaxBoxAccV2"),
        ("options: {lr: 1}\nvary: {lr: [1, 2]}\n", "lr is in options too; expected it in one of them"),
        ("vary: {lr: 1}\nchoose: {grid: {lr: 2}}\n", "lr is in vary too"),
        ("choose: {random: {draws: 3}}\n", "expected draws and ranges"),
        ("choose: {random: {draws: 3, ranges: {lr: {uniform: [2, 1]}}}}\n", "the lower end first"),
        ("choose: {random: {draws: 3, ranges: {lr: {log_uniform: [0, 1]}}}}\n", "a lower end above 0"),
        ("choose: {random: {draws: 3, ranges: {lr: {normal: [0, 1]}}}}\n", "unknown distribution"),
        ("choose: {random: {draws: 3, ranges: {spg_threshold_1l: {uniform: [0, spg_threshold_1h]}}}}\n", "not drawn before"),
        ("report: [{seed: 1}]\n", "unknown entry; did you mean seeds?"),
        ("report: [{where: {lr: 1}}]\n", "does not vary"),
        ("vary: {lr: [1, 2]}\nreport: [{where: {lr: 3}}]\n", "3.0 is not among its values"),
        ("choose: {random: {draws: 3, ranges: {batch_size: {whole: [1.5, 3]}}}}\n", "expected whole numbers"),
        ("choose: {random: {draws: 3, ranges: {batch_size: {whole: [1, 1e30]}}}}\n", "expected whole numbers"),
        ("choose: {random: {draws: 3, ranges: {cutmix_beta: {size_prior: [-1, 0]}}}}\n", "0 or more"),
        (
            "choose: {random: {draws: 3, ranges: {amp: {choice: [off]}, lr: {uniform: [0, amp]}}}}\n",
            "amp is no number",
        ),
        ("choose: {grid: {wsol_method: [cam, has]}}\n", "expected it in vary"),
        ("choose: {grid: {lr: [1, 2]}}\nreport: [{vary: {lr: 3}}]\n", "report: lr is chosen"),
        ("choose: {grid: {lr: [1, 2]}}\nreport: [{options: {lr: 3}}]\n", "report: lr is chosen"),
        ("choose: {grid: {lr: [1, 2]}, options: {lr: 3}}\n", "choose: lr is chosen"),
        ("vary: {label_level: genus}\nchoose: {grid: {lr: 1}}\ncases: [{options: {lr: 3}}]\n", "cases: lr is chosen"),
        ("report: [{options: {seed: 3}}]\n", "is the seed"),
        ("run: {jobs: 0}\n", "expected 1 to 1000"),
        ("run: {submitit: {partition: gpu}}\n", "expected 'cluster: slurm'"),
        ("options: &a {lr: 1}\n", "an anchor, alias or tag"),
        ("options: !!python/object:os.system {}\n", "an anchor, alias or tag"),
        ("options: {lr: [1\n", "not valid YAML"),
    ],
)
def test_a_mistake_names_file_line_and_what_was_expected(tmp_path, text, said):
    with pytest.raises(InputError) as caught:
        spec_of(tmp_path, text)
    assert said in str(caught.value) and str(tmp_path / "study.yaml") in str(caught.value)


def test_where_names_points():
    point = {"wsol_method": "cam", "label_level": "species"}
    assert matches(point, {"label_level": (FINEST,), "wsol_method": ("cam", "has")}, "species")
    assert not matches(point, {"wsol_method": ("has",)}, "species")
    assert matches(point, {}, None)
