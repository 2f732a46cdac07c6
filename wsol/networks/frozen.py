"""Networks of which only a part is trained, or nothing.

In: a backbone. Out: which parameters have gradients, which modules keep their statistics, and a frozen network's output.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from wsol.networks.backbone import Backbone


def train_only(network: nn.Module, names: Collection[str]) -> None:
    """Give gradients only to the parameters of these names, or inside modules of these names."""
    exact, inside = set(names), tuple(f"{name}." for name in names)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in exact or name.startswith(inside))


def fix_statistics(module: nn.Module) -> None:
    """Set to evaluation mode what is not trained: its batch statistics stay as they are, and it drops nothing.

    A module stays in training mode, with all that it contains, if it has parameters and all of them are trained.
    """
    trained = [parameter.requires_grad for parameter in module.parameters()]
    if trained and all(trained):
        return
    if not any(trained):
        module.eval()
        return
    module.training = False
    for child in module.children():
        fix_statistics(child)


def lay_out(outputs: torch.Tensor) -> torch.Tensor:
    """Return outputs (B, ...) in the one memory layout that a frozen network's have: maps with their channels last.

    Later sums depend on the layout in their last bits; so whatever the outputs were made from, or read from, they agree.
    """
    return outputs.contiguous(memory_format=torch.channels_last if outputs.ndim == 4 else torch.contiguous_format)


def encode_frozen(backbone: "Backbone", images: torch.Tensor) -> torch.Tensor:
    """Return what a frozen backbone extracts from images (B, 3, H, W), without autograd.

    On a CPU it sees one image at a time, so that an image's features do not depend, not even in their last bit, on the other
    images of its batch: they can be kept, and any number of processes gives the same. On a GPU that would be slow; and
    methods that look inside the network, and compilers, see whole batches.
    """
    with torch.no_grad():
        if images.device.type != "cpu" or backbone.is_watched or torch.compiler.is_compiling() or not len(images):
            return lay_out(backbone.extract(images))
        return lay_out(torch.cat([backbone.extract(image) for image in images.split(1)]))


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """Return how many of a network's parameters are trained, and how many there are.

    >>> layer = nn.Linear(2, 3)
    >>> layer.bias.requires_grad_(False)  # doctest: +ELLIPSIS
    Parameter containing:...
    >>> count_parameters(layer)
    (6, 9)
    """
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)
