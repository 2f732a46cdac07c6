"""Weakly supervised object localization: networks, methods, score maps, and how well they find the object.

import wsol

model = wsol.build_model("resnet50", "cam", num_classes=200, pretrained=True)
maps = model.eval().score_maps(images, labels)
predictor = wsol.restore("train_log/my_run/last_checkpoint.pth.tar")
found = wsol.Localizer.load("train_log/my_run/last_checkpoint.pth.tar")("photo.jpg")
"""

from typing import TYPE_CHECKING, Any

from wsol.core import registry
from wsol.methods.build import build_from_config, build_model, load_wsolevaluation_state_dict

if TYPE_CHECKING:
    from wsol.photos.localization import Localization
    from wsol.photos.localizer import Localizer
    from wsol.runs.final_evaluation import evaluate_run
    from wsol.runs.predictor import Predictor, restore

__all__ = [
    "Localization",
    "Localizer",
    "Predictor",
    "build_from_config",
    "build_model",
    "evaluate_run",
    "load_wsolevaluation_state_dict",
    "registry",
    "restore",
]

_LOADS_TORCH = {
    "Localization": "wsol.photos.localization:Localization",
    "Localizer": "wsol.photos.localizer:Localizer",
    "Predictor": "wsol.runs.predictor:Predictor",
    "evaluate_run": "wsol.runs.final_evaluation:evaluate_run",
    "restore": "wsol.runs.predictor:restore",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (whatever the name stands for)
    """Return a public name that loads torch, when it is first used."""
    if name in _LOADS_TORCH:
        return registry.load(_LOADS_TORCH[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, those that load torch included."""
    return sorted(__all__)
