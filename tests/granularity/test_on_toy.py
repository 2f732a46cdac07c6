"""Label levels chosen from networks that were trained on Toy, where each level has a cue of its own."""

import json

import pytest

from conftest import run

TRAINING = ("--threads", "1", "--bootstrap", "0", "--save_scoremaps", "none")


@pytest.mark.slow
def test_toy_gets_a_cut_whose_expected_gain_test_confirms(workspace):
    """The angular animals are found by the maps of their family, the round ones by those of their species."""
    for level in ("species", "family"):
        run("main.py", *TRAINING, "--label_level", level, "--experiment_name", level, cwd=workspace)
    runs = ("train_log/species", "train_log/family")
    said = run("scripts/choose_granularity.py", *runs, "--output", "train_log/chosen", "--evaluate", "test", cwd=workspace)
    record = json.loads((workspace / "train_log/chosen/granularity.json").read_text())
    by_level = {
        level: [node["class"] for node in record["cut"] if node["level"] == level] for level in ("species", "family")
    }
    assert by_level["family"] and all(name.startswith("angular-") for name in by_level["family"])
    round_species = [name for name in by_level["species"] if name.startswith("round-")]
    assert len(round_species) == 8 and "species, but family for angular" in said
    low, high = record["candidate"]["interval"]
    assert 0 < low < record["expected_gain"] < high
    for difference in (record["test"]["at_val_threshold"], record["test"]["at_best"]):
        assert difference["interval"][0] > 0 and difference["p_value"] < 0.01
