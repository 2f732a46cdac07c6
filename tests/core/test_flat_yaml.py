"""Files of options: values as they are written, read by each option, and what is not such a file."""

import os

import pytest

from config import get_config, read_config, write_config
from wsol.core.errors import InputError
from wsol.core.flat_yaml import read_dumped


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
    assert read_config(tmp_path / "config.yaml") == {
        k: v for k, v in config.items() if k not in ("override_cache", "resume")
    }


def test_yaml_without_quotes_is_read_as_the_command_line_reads_it(tmp_path):
    (tmp_path / "c.yaml").write_text("experiment_name: 1.10\nlabel_level: no\nepochs: 010\neval_test: off\nseed: '3'\n")
    config, _ = get_config(["--config", str(tmp_path / "c.yaml")])
    expected = ("1.10", "no", 10, False, 3)
    assert (config.experiment_name, config.label_level, config.epochs, config.eval_test, config.seed) == expected


def test_null_in_yaml_is_an_option_s_default_none_and_nothing_else(tmp_path):
    (tmp_path / "c.yaml").write_text("label_level: null\ncoarsening: ~\npretrained_path:\n")
    config, _ = get_config(["--config", str(tmp_path / "c.yaml")])
    assert (config.label_level, config.coarsening, config.pretrained_path) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize: 3", r"unknown option 'batchsize'; did you mean batch_size\?"),
        ("zzz: 3", r"unknown option 'zzz'; known: experiment_name"),
        ("epochs: many", r"epochs: 'many' is invalid"),
        ("epochs: [1, 2]", r"epochs: \[1, 2\] is invalid \(a single value\)"),
        ("iou_threshold_list: 50", r"is invalid \(a list\)"),
        ("amp: fp8", r"is invalid \(one of off, bf16, fp16, auto\)"),
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


@pytest.mark.parametrize("name", ["/dev/zero", "fifo", ".", "c.yaml/x"])
def test_a_config_is_a_regular_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    (tmp_path / "c.yaml").touch()
    with pytest.raises(InputError, match=r"expected a regular file|no such file"):
        get_config(["--config", name])


def test_what_was_dumped_comes_back_with_its_types(tmp_path):
    config, _ = get_config(["--experiment_name", "2020-13-45", "--lr", "1e-5", "--iou_threshold_list", "30", "50"])
    write_config(config, tmp_path / "config.yaml")
    found = read_dumped(tmp_path / "config.yaml")
    assert found == read_config(tmp_path / "config.yaml")
    assert {name: type(value) for name, value in found.items()}["lr"] is float
    (tmp_path / "config.yaml").write_text("experiment_name: 2020-13-45\n")
    with pytest.raises(InputError, match="not a file that this project wrote"):
        read_dumped(tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_text("experiment_name: !!python/object:os.system x\n")
    with pytest.raises(InputError, match="an anchor, alias or tag"):
        read_dumped(tmp_path / "config.yaml")
