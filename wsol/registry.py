"""Every architecture and method by name: one line each, "module:function"; nothing is imported before it is asked for."""

import importlib
from collections.abc import Callable

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


def load(entry: str) -> Callable:
    """Return the object that a registry entry names."""
    module, name = entry.split(":")
    return getattr(importlib.import_module(module), name)


def methods() -> dict[str, type]:
    """Return every method's class by name."""
    return {name: load(entry) for name, entry in METHODS.items()}
