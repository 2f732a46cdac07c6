"""Whether a finished run has the options that are asked for."""

import pytest

from config import get_config, read_config, write_config
from option_tables import training_groups
from wsol.core.errors import InputError
from wsol.core.options import by_name
from wsol.sweeps.states import check_options


def test_a_run_whose_precision_was_measured_has_the_options_of_auto(tmp_path):
    defaults = {name: option.initial for name, option in by_name(training_groups()).items()}
    config, _ = get_config(["--amp", "AUTO"])
    assert config.amp == "auto"
    write_config({**config, "amp": "bf16"}, tmp_path / "config.yaml")  # as main.py writes what it took
    saved = read_config(tmp_path / "config.yaml")
    check_options(tmp_path, config, saved, defaults)
    with pytest.raises(InputError, match=r"amp was bf16, now off"):
        check_options(tmp_path, {**config, "amp": "off"}, saved, defaults)
