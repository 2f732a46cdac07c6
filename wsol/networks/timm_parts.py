"""Parts of timm's networks: blocks, class token, patches, and how their weights expect images.

In: a network of timm. Out: names, positions and numbers; nothing is changed.
"""

from typing import TYPE_CHECKING

import torch
from timm.layers import to_2tuple
from timm.models import group_parameters
from torch import nn

from wsol.core.errors import InputError, OptionError, reason
from wsol.data.preprocessing import IMAGENET, Preprocessing

if TYPE_CHECKING:
    from wsol.networks.timm_networks import Network


def own_preprocessing(network: "Network") -> Preprocessing:
    """Return the mean and standard deviation of images that a network's weights expect; ImageNet's if it states none."""
    mean, std = (tuple(network.pretrained_cfg.get(name) or ()) for name in ("mean", "std"))
    if len(mean) != 3 or len(std) != 3:
        return IMAGENET
    return Preprocessing(mean, std)


def has_class_token(network: nn.Module, prefix: int) -> bool:
    """Return whether the first of a network's `prefix` tokens is a class token; registers come after it, or are alone."""
    return prefix > 0 and isinstance(getattr(network, "cls_token", None), nn.Parameter)


def patch_sides(network: nn.Module) -> tuple[int, int] | None:
    """Return the (height, width) in pixels that the sides of images have to be multiples of, None if any will do."""
    embedding = getattr(network, "patch_embed", None)
    sides = getattr(embedding, "patch_size", None)
    if sides is None or not hasattr(network, "pos_embed") or getattr(embedding, "dynamic_img_pad", False):
        return None
    height, width = to_2tuple(sides)
    return int(height), int(width)


def require_whole_patches(patch: tuple[int, int] | None, height: int, width: int) -> None:
    """Raise InputError if images of height x width are not covered by whole patches."""
    if patch and (height % patch[0] or width % patch[1]):
        raise InputError(
            f"its patches of {patch[0]} x {patch[1]} pixels do not divide {height} x {width}; expected sides that are "
            f"multiples, such as {max(height // patch[0], 2) * patch[0]}"
        )


def _used(network: "Network", side: int) -> set[str]:
    """Return the names of the parameters that the last features depend on, for one square image."""
    named = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    training = network.training
    network.eval()
    with torch.enable_grad():
        total = network.forward_features(torch.zeros(1, 3, side, side)).sum()
        gradients = torch.autograd.grad(total, [parameter for _, parameter in named], allow_unused=True)
    network.train(training)
    return {name for (name, _), gradient in zip(named, gradients, strict=True) if gradient is not None}


def blocks_of(network: "Network", side: int) -> list[tuple[str, ...]]:
    """Return the names of the parameters of a network's blocks, first to last: the coarse groups that timm states.

    Those are the blocks of a transformer and the stages of most convolutional networks, after a first group with the stem.
    Parameters that the features do not depend on, such as those of a head, are in none; `side`: of the image that tells.

    Raises:
        OptionError: timm states no groups for the network.
    """
    try:
        groups = group_parameters(network, network.group_matcher(coarse=True))  # type: ignore[operator]
    except Exception as error:  # noqa: BLE001 (not every network has a matcher, or one that takes `coarse`)
        raise OptionError(
            "train_last_blocks", "", f"timm does not state the blocks of this network ({reason(error)}); expected none"
        ) from None
    used = _used(network, side)
    blocks = [tuple(name for name in groups[number] if name in used) for number in sorted(groups)]
    return [block for block in blocks if block]
