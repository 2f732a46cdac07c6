"""Initial weights of layers without pretrained weights."""

from torch import nn


def initialize(module: nn.Module, convolutions: str = "xavier") -> None:
    """Initialise all layers of a module in place.

    Convolutions: Xavier uniform ("xavier") or Kaiming normal with fan-out ("kaiming"). Linear layers: normal(0, 0.01).
    Batch norm weights: 1. All biases: 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            if convolutions == "kaiming":
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(layer.weight)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.01)
        elif isinstance(layer, nn.BatchNorm2d) and layer.affine:
            nn.init.ones_(layer.weight)
        if (bias := getattr(layer, "bias", None)) is not None:
            nn.init.zeros_(bias)
