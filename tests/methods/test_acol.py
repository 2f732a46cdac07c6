"""ACoL: what is erased."""

import torch

from wsol.methods.acol import erase
from wsol.methods.method import min_max


def test_a_position_is_erased_where_the_normalised_map_reaches_the_threshold():
    features, maps = torch.ones(1, 2, 1, 5), torch.tensor([[[0.0, 0.5, 0.69, 0.7, 1.0]]])
    assert erase(features, maps, 0.7)[0, 0, 0].tolist() == [1, 1, 1, 0, 0]
    assert erase(features, 3 * maps - 7, 0.5)[0, 1, 0].tolist() == [1, 0, 0, 0, 0]
    assert min_max(torch.full((1, 2, 2), 5.0)).tolist() == [[[0, 0], [0, 0]]]
