"""Every architecture, method, mapper and refiner by name: one line each, "module:object", imported when it is used.

Other packages register theirs as entry points of the groups wsol.architectures, wsol.methods, wsol.mappers, wsol.refiners.
"""

import importlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from wsol.errors import InputError, did_you_mean

ARCHITECTURES = {
    "resnet18": "wsol.resnet:resnet18",
    "resnet50": "wsol.resnet:resnet50",
    "vgg16": "wsol.vgg:vgg16",
    "inception_v3": "wsol.inception:inception_v3",
}
TIMM_PREFIX = "timm:"
TIMM = "wsol.timm_networks:timm_network"

METHODS = {
    "cam": "wsol.cam:CAM",
    "has": "wsol.has:HaS",
    "acol": "wsol.acol:ACoL",
    "spg": "wsol.spg:SPG",
    "adl": "wsol.adl:ADL",
    "cutmix": "wsol.cutmix:CutMix",
}

# Functions of a model, and of each class's ancestor where maps of a coarser level are wanted, to a Mapper (wsol/mapper.py).
OWN_MAPS, CAM_AGG = "method", "cam_agg"
MAPPERS = {
    OWN_MAPS: "wsol.mapper:own_maps",
    CAM_AGG: "wsol.cam_agg:aggregate",
    "gradcam": "wsol.extractors:gradcam",
    "gradcam++": "wsol.extractors:gradcam_pp",
    "xgradcam": "wsol.extractors:xgradcam",
    "layercam": "wsol.extractors:layercam",
    "scorecam": "wsol.extractors:scorecam",
}

REFINERS: dict[str, str] = {}  # functions of an image and its score map to a score map (wsol/prediction.py)

KINDS = {"architectures": ARCHITECTURES, "methods": METHODS, "mappers": MAPPERS, "refiners": REFINERS}


@cache
def of_other_packages(kind: str) -> dict[str, str]:
    """Return name to entry of what other packages register of a kind."""
    return {point.name: point.value for point in entry_points(group=f"wsol.{kind}")}


def _entries(kind: str) -> dict[str, str]:
    """Return name to entry of a kind; a name of ours cannot be taken by another package."""
    return {**KINDS[kind], **{name: at for name, at in of_other_packages(kind).items() if name not in KINDS[kind]}}


def names(kind: str) -> tuple[str, ...]:
    """Return the names of a kind, one of KINDS, ours first.

    >>> names("methods")
    ('cam', 'has', 'acol', 'spg', 'adl', 'cutmix')
    """
    return tuple(_entries(kind))


def find(kind: str, name: str) -> Callable[..., Any]:
    """Return the object of a kind, one of KINDS, that is registered by a name.

    Raises:
        InputError: no such name; lists those there are.
    """
    entries = _entries(kind)
    if name not in entries:
        known = ", ".join(entries) or "none"
        raise InputError(f"{name!r} is not among the {kind}: {known}{did_you_mean(name, entries)}")
    return load(entries[name])


def load(entry: str) -> Callable[..., Any]:
    """Return the object that a registry entry names."""
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(module), name)


def methods() -> dict[str, type]:
    """Return every method's class by name."""
    return {name: find("methods", name) for name in names("methods")}
