"""Options from the command line, YAML and presets, and what is refused."""

import pytest

from config import (
    get_config,
    write_config,
)
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


def test_a_written_configuration_reads_back_the_same(tmp_path):
    config, _ = get_config(["--lr", "1e-5", "--iou_threshold_list", "50", "90", "--label_level", "genus"])
    write_config(config, tmp_path / "config.yaml")
    again, _ = get_config(["--config", str(tmp_path / "config.yaml")])
    assert again == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--crop_size 300 --resize_size 200", "--resize_size 200: expected at least --crop_size 300"),
        ("--batch_size 0", "--batch_size 0: expected 1 or more"),
        ("--workers -1", "--workers -1: expected 0 or more"),
        ("--lr 0", "--lr 0.0: expected more than 0"),
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
        ("--architecture vgg99", f"--architecture vgg99: expected {NETWORKS} or timm:NAME"),
        ("--weight_decay 1e9", "--weight_decay 1000000000.0: expected 1e+06 or less"),
        ("--lr 1e9", "--lr 1000000000.0: expected more than 0, at most 1e+06"),
        ("--crop_size 1000000", "--crop_size 1000000: expected 10000 or less"),
        ("--resize_size 1000000", "--resize_size 1000000: expected 10000 or less"),
        ("--batch_size 1000000000000", "--batch_size 1000000000000: expected 100000 or less"),
        ("--workers 1000000", "--workers 1000000: expected 1000 or less"),
        ("--epochs 1000000000000", "--epochs 1000000000000: expected 1000000 or less"),
        ("--num_val_sample_per_class 1000000000000", "expected 1000000000 or less"),
        ("--lr_decay_frequency 1000000000000", "expected 1000000000 or less"),
        ("--device cuda:9999999999999999999999", "is not a device; expected auto, cpu, cuda or cuda:N"),
        ("--device cuda:\u0663", "is not a device"),
        ("--experiment_name " + "x" * 246, "... (246 characters): expected at most 245 bytes per name"),
        ("--experiment_name a/" + "é" * 123 + "/b", "expected at most 245 bytes per name"),
        ("--keep_classifier maybe", "t/f, y/n, 1/0), nor auto"),
        ("--threads many", "--threads: 'many' is not a whole number, nor auto"),
        ("--keep_classifier --pretrained F", "--keep_classifier True: expected auto or FALSE with --pretrained FALSE"),
        ("--config nowhere.yaml", "nowhere.yaml: no such file"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InputError) as caught:
        get_config(options.split())
    assert message in caught.value.on_command_line()


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
        ("--wsol_method fsl_seg --fsl_val_share 1", "--fsl_val_share 1.0: expected 0 or more, less than 1"),
        ("--wsol_method fsl_seg --cam_agg_level order", "--cam_agg_level order: expected none with fsl_seg, which tells"),
        (
            "--wsol_method fsl_seg --proxy_training_set",
            "--proxy_training_set True: expected FALSE with fsl_seg, which is trained on val",
        ),
        (
            "--wsol_method fsl_det --num_train_sample_per_class 5",
            "its number of images is --num_val_sample_per_class",
        ),
        (
            "--wsol_method fsl_det --save_scoremaps val",
            "--save_scoremaps val: expected none with fsl_det, which gives boxes",
        ),
        (
            "--wsol_method fsl_seg --fsl_val_share 0 --eval_checkpoint_type best",
            "--eval_checkpoint_type best: expected last with --fsl_val_share 0",
        ),
        ("--wsol_method fsl_seg --thresholds_from x", "--fsl_val_share 0.2: expected --fsl_val_share 0 with it"),
        ("--wsol_method fsl_seg --fsl_val_share 0 --thresholds_from x", "--thresholds_from x: expected a file"),
        ("--wsol_method fsl_det --fsl_val_share 0 --thresholds_from x", "expected nothing with fsl_det, which has no score"),
        (f"--wsol_method fsl_det --wsolevaluation_checkpoint {__file__}", "--wsol_method fsl_det: expected another method"),
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
