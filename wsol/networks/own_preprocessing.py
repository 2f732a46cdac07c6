"""How a network of timm wants its images, by its own account.

In: a network of timm. Out: its `Preprocessing`.
"""

from typing import Any

from torch import nn

from wsol.core.errors import InputError
from wsol.data.preprocessing import Preprocessing


def preprocessing_of(network: nn.Module) -> Preprocessing:
    """Return the mean and standard deviation with which the weights of a timm network were trained (`pretrained_cfg`).

    Raises:
        InputError: the network does not state three of each.
    """
    stated: Any = getattr(network, "pretrained_cfg", None) or {}
    mean, std = (tuple(float(value) for value in stated.get(name) or ()) for name in ("mean", "std"))
    if len(mean) != 3 or len(std) != 3:
        raise InputError(f"{type(network).__name__}: states no mean and standard deviation of three channels for its images")
    return Preprocessing((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
