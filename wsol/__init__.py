"""Weakly supervised object localization: architectures, methods, baselines, and what they are made of."""

from typing import TYPE_CHECKING

from wsol import registry
from wsol.errors import InputError

if TYPE_CHECKING:
    from torch import nn


def build_model(
    architecture: str,
    wsol_method: str,
    num_classes: int,
    *,
    large_feature_map: bool = False,
    pretrained: bool = False,
    pretrained_path: str | None = None,
) -> "nn.Module":
    """Return a module with `model(images, labels=None) -> dict` (at least `logits`), `model.loss(outputs, labels)`,
    `model.raw_maps(outputs, labels)` and `model.score_maps(images, labels)`, raw maps (B, h, w) of the given labels.

    Raises:
        InputError: an unknown architecture or method, weights that cannot be had or do not fit.
    """
    if wsol_method not in registry.METHODS:
        raise InputError(f"--wsol_method {wsol_method}: expected one of {', '.join(registry.METHODS)}")
    options = (large_feature_map, pretrained, pretrained_path)
    if architecture.startswith(registry.TIMM_PREFIX):
        backbone = registry.load(registry.TIMM)(architecture.removeprefix(registry.TIMM_PREFIX), *options)
    elif architecture in registry.ARCHITECTURES:
        backbone = registry.load(registry.ARCHITECTURES[architecture])(*options)
    else:
        known = ", ".join(registry.ARCHITECTURES)
        raise InputError(f"--architecture {architecture}: expected one of {known}, or timm:NAME")
    return registry.load(registry.METHODS[wsol_method])(backbone, num_classes)
