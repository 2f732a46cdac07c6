"""From a checkpoint to what maps: the mapper by name, and checkpoints that do not hold the ancestors."""

import pytest
import torch

from config import get_config
from conftest import TINY
from wsol import build_model
from wsol.core.errors import InputError
from wsol.maps.cam_agg import AggregatedMaps, ancestors_at
from wsol.runs.predictor import restore


@pytest.fixture
def older(workspace, monkeypatch):
    """A checkpoint for Toy's families from before checkpoints stated a format and held the classes' ancestors."""
    monkeypatch.chdir(workspace)
    torch.manual_seed(0)
    config, _ = get_config([*TINY, "--label_level", "family", "--cam_agg_level", "order"])
    content = {
        "architecture": config.architecture,
        "epoch": 3,
        "state_dict": build_model(config.architecture, "cam", 4).state_dict(),
        "optimizer": {},
        "config": dict(config),
        "label_level": "family",
        "class_names": ["a", "b", "c", "d"],
        "file_labels": [0, 1, 2, 3],
    }
    torch.save(content, "older.pth.tar")
    return content


def test_an_older_checkpoint_takes_its_ancestors_from_the_metadata(older):
    predictor = restore("older.pth.tar")
    assert (predictor.epoch, predictor.level, predictor.cam_agg_level, predictor.thresholds) == (3, "family", "order", None)
    assert isinstance(predictor.mapper, AggregatedMaps) and not predictor.model.training
    assert predictor.ancestors.tolist() == ancestors_at("metadata", "Toy", "family", "order", [0, 1, 2, 3]).tolist()
    for name, value in predictor.model.state_dict().items():
        assert torch.equal(value, older["state_dict"][name])


def test_a_mapper_by_name_maps_at_the_level_trained_at(older):
    predictor = restore("older.pth.tar", mapper="gradcam")
    assert predictor.cam_agg_level is None and predictor.ancestors is None
    assert not isinstance(predictor.mapper, AggregatedMaps) and predictor.mapper is not predictor.model
    with pytest.raises(InputError, match="'nope' is not one of the mappers"):
        restore("older.pth.tar", mapper="nope")


def test_classes_that_were_not_trained_on_are_refused(older):
    with pytest.raises(InputError, match=r"older\.pth\.tar: was not trained on 4 classes of Toy at level 'family'"):
        restore("older.pth.tar").load_splits(("val",))
