"""The words of a command line: what names something, what is a number, and what is no option."""

import pytest

from config import evaluation_parser, get_config, inference_parser, parse_options, training_parser
from wsol.core.errors import InputError
from wsol.core.options import boolean


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--lr nan", "--lr: 'nan' is not a finite number"),
        ("--experiment_name ../x", "--experiment_name '../x': expected a name or relative path inside train_log/"),
        ("--experiment_name .", "--experiment_name '.': expected a name"),
        ("--weight_decay inf", "--weight_decay: 'inf' is not a finite number"),
        ("--weight_decay nan", "--weight_decay: 'nan' is not a finite number"),
        ("--lr 1_0", "--lr: '1_0' is not a finite number"),
        ("--epochs \u0663", "--epochs: '\\u0663' is not a whole number"),
        ("--epochs 1_0", "--epochs: '1_0' is not a whole number"),
        ("--epochs " + "9" * 5000, "is not a whole number of at most 30 digits"),
        ("--lr " + "9" * 5000, "is not a finite number"),
        ("--iou_threshold_list 50 " + "9" * 5000, "is not a whole number of at most 30 digits"),
        ("--dataset_name ../x", "--dataset_name: '../x': expected a name, not a path"),
        ("--dataset_name ..", "--dataset_name: '..': expected a name, not a path"),
        ("--experiment_name " + "x" * 256, "expected at most 255 bytes per name and 4095 per path"),
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
    ],
)
def test_words_that_are_no_option_or_no_value_of_one_are_refused(options, message):
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
