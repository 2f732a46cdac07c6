"""Every architecture and method by name: one line each, "module:function"; nothing is imported before it is asked for."""

import importlib
from collections.abc import Callable

ARCHITECTURES = {
    "resnet18": "wsol.resnet:resnet18",
    "resnet50": "wsol.resnet:resnet50",
}
TIMM_PREFIX = "timm:"
TIMM = "wsol.timm_networks:timm_network"

METHODS = {
    "cam": "wsol.cam:CAM",
}


def load(entry: str) -> Callable:
    """Return the object that a registry entry names."""
    module, name = entry.split(":")
    return getattr(importlib.import_module(module), name)
