"""Options from the command line, YAML and presets, and what is refused."""

import json
import os
import shlex

import pytest

from config import (
    evaluation_parser,
    get_config,
    inference_parser,
    parse_options,
    read_config,
    training_parser,
    write_config,
)
from conftest import CHECKOUT
from wsol.core import registry
from wsol.core.errors import InputError
from wsol.core.machine import default_workers
from wsol.core.options import boolean

NETWORKS = ", ".join(registry.names("architectures"))

OPENIMAGES = (
    "--dataset_name OpenImages --architecture resnet50 --wsol_method cam --experiment_name OpenImages_resnet50_CAM "
    "--pretrained TRUE --num_val_sample_per_class 5 --large_feature_map FALSE --batch_size 32 --epochs 10 "
    "--lr 0.00227913316 --lr_decay_frequency 3 --weight_decay 5.00E-04 --override_cache FALSE --workers 4 "
    "--box_v2_metric True --iou_threshold_list 30 50 70 --eval_checkpoint_type last"
)


@pytest.mark.parametrize("text", ["true", "YES", "t", "Y", "1"])
def test_truth(text):
    assert boolean(text)
    assert get_config(["--override_cache", text])[0].override_cache


@pytest.mark.parametrize("text", ["False", "no", "F", "n", "0"])
def test_falsehood(text):
    assert not boolean(text)
    assert not get_config(["--eval_test", text])[0].eval_test


def test_a_boolean_without_a_value_is_true_and_nonsense_is_refused():
    assert get_config(["--large_feature_map", "--seed", "3"])[0].large_feature_map
    with pytest.raises(InputError, match=r"^--pretrained: 'maybe' is neither true nor false"):
        get_config(["--pretrained", "maybe"])


def test_a_published_command_is_understood():
    config, notes = get_config(OPENIMAGES.split())
    assert (config.lr, config.weight_decay, config.num_val_sample_per_class) == (0.00227913316, 5e-4, 5)
    assert (config.multi_contour_eval, config.multi_iou_eval, config.momentum) == (True, True, 0.9)
    assert notes == []


def test_defaults_are_those_of_wsolevaluation():
    config, _ = get_config(["--dataset_name", "CUB"])
    expected = {
        "experiment_name": "test_case",
        "override_cache": False,
        "workers": default_workers(),  # 4 where there are as many cores
        "data_root": "dataset/",
        "metadata_root": "metadata/",
        "mask_root": "dataset/",
        "proxy_training_set": False,
        "num_val_sample_per_class": 0,
        "architecture": "resnet50",
        "epochs": 40,
        "pretrained": True,
        "cam_curve_interval": 0.001,
        "resize_size": 256,
        "crop_size": 224,
        "iou_threshold_list": [30, 50, 70],
        "eval_checkpoint_type": "last",
        "box_v2_metric": True,
        "batch_size": 64,
        "lr": 0.01,
        "lr_decay_frequency": 30,
        "lr_classifier_ratio": 10,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "large_feature_map": False,
        "wsol_method": "cam",
        "amp": "off",
        "has_grid_size": 4,
        "has_drop_rate": 0.5,
        "acol_threshold": 0.7,
        "spg_threshold_1h": 0.7,
        "spg_threshold_1l": 0.01,
        "spg_threshold_2h": 0.5,
        "spg_threshold_2l": 0.05,
        "spg_threshold_3h": 0.7,
        "spg_threshold_3l": 0.1,
        "adl_drop_rate": 0.75,
        "adl_threshold": 0.9,
        "cutmix_beta": 1.0,
        "cutmix_prob": 1.0,
    }
    assert {name: config[name] for name in expected} == expected


def test_box_v2_metric_sets_both_flags_to_its_own_value_and_says_so():
    config, notes = get_config(["--box_v2_metric", "F", "--multi_iou_eval", "T"])
    assert (config.multi_contour_eval, config.multi_iou_eval) == (False, False)
    assert any("--multi_iou_eval True has no effect" in note for note in notes)


def test_command_line_wins_over_yaml_over_preset_over_default(tmp_path):
    (tmp_path / "c.yaml").write_text("lr: 0.5\nepochs: 3\niou_threshold_list: [50]\neval_test: no\nmomentum: 0\n")
    config, notes = get_config(["--config", str(tmp_path / "c.yaml"), "--epochs", "2"])
    assert (config.epochs, config.lr, config.iou_threshold_list, config.eval_test) == (2, 0.5, [50], False)
    assert config.architecture == "resnet18"
    assert config.momentum == 0
    assert config.weight_decay == 1e-4
    assert "Toy's own preset: architecture resnet18" in notes[0]
    assert "lr 0.01," not in notes[0]


def test_the_plain_word_off_in_yaml(tmp_path):
    (tmp_path / "c.yaml").write_text("amp: off\n")
    assert get_config(["--config", str(tmp_path / "c.yaml")])[0].amp == "off"


@pytest.mark.parametrize(
    "name", ["no", "1.10", "010", "2020-13-45", "null", "on", "[a]", "a: b", "é", "#", "1:30", "a" * 100]
)
def test_a_name_in_yaml_stays_what_it_is(tmp_path, name):
    """YAML's own types would make them False, 1.1, 8, a traceback, None, True, ..."""
    config, _ = get_config(["--experiment_name", name, "--label_level", name])
    write_config(config, tmp_path / "config.yaml")
    assert get_config(["--config", str(tmp_path / "config.yaml")])[0] == config
    assert read_config(tmp_path / "config.yaml") == {k: v for k, v in config.items() if k != "override_cache"}


def test_yaml_without_quotes_is_read_as_the_command_line_reads_it(tmp_path):
    (tmp_path / "c.yaml").write_text("experiment_name: 1.10\nlabel_level: no\nepochs: 010\neval_test: off\nseed: '3'\n")
    config, _ = get_config(["--config", str(tmp_path / "c.yaml")])
    expected = ("1.10", "no", 10, False, 3)
    assert (config.experiment_name, config.label_level, config.epochs, config.eval_test, config.seed) == expected


def test_null_in_yaml_is_an_option_s_default_none_and_nothing_else(tmp_path):
    (tmp_path / "c.yaml").write_text("label_level: null\ncoarsening: ~\npretrained_path:\n")
    config, _ = get_config(["--config", str(tmp_path / "c.yaml")])
    assert (config.label_level, config.coarsening, config.pretrained_path) == (None, None, None)


def test_a_written_configuration_reads_back_the_same(tmp_path):
    config, _ = get_config(["--lr", "1e-5", "--iou_threshold_list", "50", "90", "--label_level", "genus"])
    write_config(config, tmp_path / "config.yaml")
    again, _ = get_config(["--config", str(tmp_path / "config.yaml")])
    assert again == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize: 3", r"unknown option 'batchsize'; did you mean batch_size\?"),
        ("zzz: 3", r"unknown option 'zzz'; known: experiment_name"),
        ("epochs: many", r"epochs: 'many' is invalid"),
        ("epochs: [1, 2]", r"epochs: \[1, 2\] is invalid \(a single value\)"),
        ("iou_threshold_list: 50", r"is invalid \(a list\)"),
        ("amp: fp8", r"is invalid \(one of off, bf16, fp16\)"),
        ("- a\n- b", "expected lines of 'option: value'"),
        ("a: [", "not a readable YAML file"),
        ("a: !!python/object/apply:os.system ['true']", "not a readable YAML file"),
        ("dataset_name: null", r"dataset_name: null is invalid \(null is not allowed; without the line it is Toy"),
        ("epochs:", "epochs: null is invalid"),
        ("iou_threshold_list: [50, ~]", "is invalid"),
        ("iou_threshold_list: []", "is invalid"),
        ("experiment_name: ''", r"c\.yaml: experiment_name: '' is invalid \('': an empty name"),
        ("pretrained_path: ' '", "an empty name"),
        ('experiment_name: "a\\0b"', "without line ends or NUL"),
        ('experiment_name: "\\uD800"', "expected a name in UTF-8"),
        ('experiment_name: "\\UFFFFFFFF"', "not a readable YAML file"),
        ("lr: 0.1\nepochs: 1\nlr: 0.2", r"c\.yaml:3: .*duplicate option 'lr'"),
        ("lr: .inf", "'.inf' is not a finite number"),
        ("lr: 2020-13-45", "'2020-13-45' is not a finite number"),
        ("2020-13-45: lr", "unknown option '2020-13-45'"),
        ("epochs: " + "9" * 5000, r"is invalid \('9{20,}.*is not a whole number of at most 30 digits"),
        ("9" * 1000 + ": 1", "unknown option"),
        ("epochs: \u0663", r"'\\u0663' is not a whole number"),
        ("epochs: " + "[" * 20_000, r"c\.yaml:1: not a readable YAML file"),
        ("[" * 60_000, "expected lines of 'option: value'"),
        ("- " * 30_000, "expected lines of 'option: value'"),
        ("epochs: &a [*a]", "an anchor, alias or tag"),
        ("? [epochs]\n: 1", "nested key"),
        ("<<: {epochs: 1}", "nested value"),
        ("!!set {epochs}", "an anchor, alias or tag"),
        ("epochs: !!timestamp 2020-13-45", "an anchor, alias or tag"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", r"c\.yaml:1: .*an anchor, alias or tag"),
        ("lr: 0.1\n---\nlr: 0.2", r"c\.yaml:2: .*a second document"),
        ("%YAML " + "9" * 5000 + ".1\n---\nlr: 1", "not a readable YAML file"),
        ("#" * 70_000, r"70000 bytes; expected a file of options of at most 65536"),
        ("lr: 1\x00", "not a readable YAML file"),
        ("", "expected lines of 'option: value'"),
    ],
)
def test_bad_yaml_is_refused_with_what_is_allowed(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        get_config(["--config", str(tmp_path / "c.yaml")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--crop_size 300 --resize_size 200", "--resize_size 200: expected at least --crop_size 300"),
        ("--batch_size 0", "--batch_size 0: expected 1 or more"),
        ("--workers -1", "--workers -1: expected 0 or more"),
        ("--lr 0", "--lr 0.0: expected more than 0"),
        ("--lr nan", "--lr: 'nan' is not a finite number"),
        ("--momentum 1", "--momentum 1.0: expected 0 or more, less than 1"),
        ("--seed -3", "--seed -3: expected 0 or more"),
        ("--seed 99999999999999999999", "expected 0 or more, less than 2**63"),
        ("--cam_curve_interval 0", "--cam_curve_interval 0.0: expected 1e-05 or more"),
        ("--iou_threshold_list 0 50", "unique percentages from 1 to 100"),
        ("--iou_threshold_list 50 50", "unique percentages from 1 to 100"),
        ("--iou_threshold_list 30 70 --box_v2_metric F", "expected 50 among them"),
        ("--eval_test F --save_scoremaps both", "--save_scoremaps both: expected none or val with --eval_test FALSE"),
        ("--pretrained_path nowhere.pth --pretrained T", "--pretrained_path nowhere.pth: expected a file"),
        ("--pretrained_path x --pretrained F", "--pretrained False: expected TRUE with --pretrained_path"),
        ("--experiment_name ../x", "--experiment_name '../x': expected a name or relative path inside train_log/"),
        ("--experiment_name .", "--experiment_name '.': expected a name"),
        (
            "--architecture vgg99",
            f"--architecture vgg99: expected {', '.join(registry.names('architectures'))} or timm:NAME",
        ),
        ("--weight_decay inf", "--weight_decay: 'inf' is not a finite number"),
        ("--weight_decay nan", "--weight_decay: 'nan' is not a finite number"),
        ("--weight_decay 1e9", "--weight_decay 1000000000.0: expected 1e+06 or less"),
        ("--lr 1e9", "--lr 1000000000.0: expected more than 0, at most 1e+06"),
        ("--lr 1_0", "--lr: '1_0' is not a finite number"),
        ("--crop_size 1000000", "--crop_size 1000000: expected 10000 or less"),
        ("--resize_size 1000000", "--resize_size 1000000: expected 10000 or less"),
        ("--batch_size 1000000000000", "--batch_size 1000000000000: expected 100000 or less"),
        ("--workers 1000000", "--workers 1000000: expected 1000 or less"),
        ("--epochs 1000000000000", "--epochs 1000000000000: expected 1000000 or less"),
        ("--num_val_sample_per_class 1000000000000", "expected 1000000000 or less"),
        ("--lr_decay_frequency 1000000000000", "expected 1000000000 or less"),
        ("--epochs \u0663", "--epochs: '\\u0663' is not a whole number"),
        ("--epochs 1_0", "--epochs: '1_0' is not a whole number"),
        ("--epochs " + "9" * 5000, "is not a whole number of at most 30 digits"),
        ("--lr " + "9" * 5000, "is not a finite number"),
        ("--iou_threshold_list 50 " + "9" * 5000, "is not a whole number of at most 30 digits"),
        ("--device cuda:9999999999999999999999", "is not a device; expected auto, cpu, cuda or cuda:N"),
        ("--device cuda:\u0663", "is not a device"),
        ("--dataset_name ../x", "--dataset_name: '../x': expected a name, not a path"),
        ("--dataset_name ..", "--dataset_name: '..': expected a name, not a path"),
        ("--experiment_name " + "x" * 256, "expected at most 255 bytes per name and 4095 per path"),
        ("--experiment_name " + "x" * 246, "... (246 characters): expected at most 245 bytes per name"),
        ("--experiment_name a/" + "é" * 123 + "/b", "expected at most 245 bytes per name"),
        ("--keep_classifier maybe", "t/f, y/n, 1/0), nor auto"),
        ("--threads many", "--threads: 'many' is not a whole number, nor auto"),
        ("--keep_classifier --pretrained F", "--keep_classifier True: expected auto or FALSE with --pretrained FALSE"),
        ("--experiment_name " + "x/" * 3000, "expected at most 255 bytes per name and 4095 per path"),
        ("--experiment_name " + "é" * 128, "expected at most 255 bytes per name"),
        ("--experiment_name a\0b", "expected a name without line ends or NUL"),
        ("--mask_root a\udcffb", "--mask_root: 'a\\udcffb': expected a name in UTF-8"),
        ("--lable_level order", "unrecognized option --lable_level; did you mean --label_level?"),
        ("--Epochs=3", "unrecognized option --Epochs; did you mean --epochs?"),
        ("-lr 0.1", "unrecognized option -lr; did you mean --lr?"),
        ("--xyzzy 1", "unrecognized option --xyzzy; --help lists the options"),
        ("--lr 0.1 0.2", "'0.2' does not belong to an option"),
        ("--lr", "--lr: expected one argument"),
        ("--config nowhere.yaml", "nowhere.yaml: no such file"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InputError) as caught:
        get_config(options.split())
    assert message in caught.value.on_command_line()


PARSERS = {"main": training_parser, "evaluation": evaluation_parser, "inference": inference_parser}
NAMED = [
    (command, f"--{option.name}")
    for command, new_parser in PARSERS.items()
    for option in new_parser("").options.values()
    if option.reader is not boolean
]


@pytest.mark.parametrize(("command", "option"), NAMED)
@pytest.mark.parametrize("text", ["", " ", "a\0b", "a\nb", "a\ud800b", "9" * 5000])
def test_no_option_takes_what_names_nothing(command, option, text):
    """--image_list "" scored everything."""
    required = ["--checkpoint", "c", "--scoremap_root", "s"] if command == "inference" else []
    with pytest.raises(InputError, match=f"^{option}: .{{,200}}$"):
        parse_options(PARSERS[command](""), [*required, option, text])


@pytest.mark.parametrize("name", ["/dev/zero", "fifo", ".", "c.yaml/x"])
def test_a_config_is_a_regular_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    (tmp_path / "c.yaml").touch()
    with pytest.raises(InputError, match=r"expected a regular file|no such file"):
        get_config(["--config", name])


PRESETS = sorted((CHECKOUT / "scripts" / "presets").glob("*.yaml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_is_understood(path):
    config, _ = get_config(["--config", str(path), "--label_level", "family", "--lr", "0.001"])
    assert (config.lr, config.label_level, config.batch_size) == (0.001, "family", 32)
    dataset, method = path.stem.split("_")[0], path.stem.split("_")[-1]
    assert config.dataset_name.lower() == dataset and config.wsol_method == method


def test_the_presets_have_the_published_settings(shared):
    facts = json.loads((shared / "facts.json").read_text())
    folder = CHECKOUT / "scripts" / "presets"
    for method in ("CAM", "HaS", "ACoL", "SPG", "ADL", "CutMix"):
        config, _ = get_config(["--config", str(folder / f"inatloc500_{method.lower()}.yaml")])
        published = facts["glol_tableA4_hyperparameters"].get(method, {})
        assert {name: config[name] for name in published} == published
        assert (config.epochs, config.lr_decay_frequency, config.large_feature_map) == (2, 2, True)
    published = facts["published_commands"]["OpenImages vgg16 CAM"]
    config, _ = get_config(["--config", str(folder / "openimages_vgg16_cam.yaml")])
    assert {name: config[name] for name in published} == published


def test_the_openimages_preset_is_the_published_command(shared):
    """Every option of it, of the README of wsolevaluation."""
    readme = (shared / "seeds/evaluating_wsol_methods_right_readme.txt").read_text(encoding="utf-8")
    text = readme[readme.index("python main.py --dataset_name OpenImages") :].split("\nSee ")[0]
    words = shlex.split(text.replace("\\\n", " "))[2:]
    published, _ = get_config(words)
    preset, _ = get_config(["--config", str(CHECKOUT / "scripts/presets/openimages_vgg16_cam.yaml")])
    assert "--num_val_sample_per_class" in words and published.num_val_sample_per_class == 5
    other = {"experiment_name": "", "workers": 4}  # the command says 4; the preset leaves it to the machine
    assert {**preset, **other} == {**published, **other}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--wsol_method has --has_drop_rate 2", "--has_drop_rate 2.0: expected 0 to 1"),
        ("--wsol_method has --has_grid_size -4", "--has_grid_size -4: expected a whole number, 0 or more"),
        ("--wsol_method spg --spg_threshold_2l 0.6", "--spg_threshold_2l 0.6: expected at most --spg_threshold_2h 0.5"),
        ("--wsol_method cutmix --cutmix_prob nan", "--cutmix_prob: 'nan' is not a finite number"),
        ("--wsol_method cutmix --cutmix_beta -1", "--cutmix_beta -1.0: expected 0 to"),
        ("--wsol_method adl --adl_threshold 1.1", "--adl_threshold 1.1: expected 0 to 1"),
        ("--wsol_method acol --acol_threshold -0.1", "--acol_threshold -0.1: expected 0 to 1"),
        ("--wsolevaluation_checkpoint nowhere", "--wsolevaluation_checkpoint nowhere: expected a file"),
    ],
)
def test_impossible_method_options_are_refused(options, message):
    with pytest.raises(InputError) as caught:
        get_config(options.split())
    assert message in caught.value.on_command_line()


def test_options_of_other_methods_have_no_effect():
    """A published command carries some that this method does not read, whatever their values."""
    others = "--has_grid_size -4 --adl_threshold 1.1 --spg_threshold_2l 0.6 --cutmix_beta -1"
    assert get_config(["--wsol_method", "acol", *others.split()])[0].adl_threshold == 1.1


@pytest.mark.parametrize("name", ["device", "threads", "keep_classifier"])
def test_auto_is_read_in_any_case(tmp_path, name):
    assert get_config([f"--{name}", "AUTO"])[0][name] == "auto"
    (tmp_path / "c.yaml").write_text(f"{name}: Auto\n")
    assert get_config(["--config", str(tmp_path / "c.yaml")])[0][name] == "auto"


def test_on_and_off_are_truths_of_every_option_that_has_one(tmp_path):
    (tmp_path / "c.yaml").write_text("dataset_name: CUB\nkeep_classifier: on\npretrained: On\neval_test: OFF\n")
    config, _ = get_config(["--config", str(tmp_path / "c.yaml")])
    assert (config.keep_classifier, config.pretrained, config.eval_test) == (True, True, False)
