"""Mappers by name, and which of them take ancestors."""

import numpy as np
import pytest

from wsol import build_model
from wsol.core import registry
from wsol.core.errors import InputError
from wsol.maps.cam_agg import AggregatedMaps
from wsol.maps.mapper import make_mapper


def test_the_own_mapper_is_the_model_and_cam_agg_wraps_it():
    model = build_model("resnet18", "cam", 3)
    assert make_mapper(registry.OWN_MAPS, model) is model
    mapper = make_mapper(registry.CAM_AGG, model, np.array([0, 0, 1]))
    assert isinstance(mapper, AggregatedMaps) and mapper.model is model
    with pytest.raises(InputError, match="'nope' is not one of the mappers"):
        make_mapper("nope", model)


@pytest.mark.parametrize(("name", "ancestors"), [("cam_agg", None), ("method", np.zeros(5, dtype=np.int64))])
def test_ancestors_are_only_for_cam_agg(name, ancestors):
    with pytest.raises(InputError, match="cam_agg_level: "):
        make_mapper(name, build_model("resnet18", "cam", 5), ancestors)
