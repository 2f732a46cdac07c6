"""What an architecture offers to a method: stages in order, features, and the places where a method may act on them.

In: images. Out: features (B, num_features, h, w). An architecture is a function that returns a `Backbone`; it knows nothing
about methods. A method asks it for one of three trunks:

    POOLED    features for one classifier on their mean
    BRANCHED  features for several convolutional branches
    GUIDED    features for one classifier, and two earlier places where side branches are supervised
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from wsol.data.preprocessing import IMAGENET, Preprocessing

POOLED, BRANCHED, GUIDED = "pooled", "branched", "guided"


@dataclass(frozen=True)
class Offer:
    """What a method may build on a backbone. Modules are given by their dotted names, as in `get_submodule`.

    num_features: channels of the features.
    convolutional_classifier: whether its classifier is a 1x1 convolution rather than a linear layer.
    convolution_init: how new convolutions are initialised, "xavier" (uniform) or "kaiming" (normal, fan-out).
    fast_stages: modules that learn at the classifier's learning rate.
    fast_convolutions: whether a method's own convolutions also learn at that rate; a linear classifier always does.
    attention_points: modules after which attention may act on the features.
    side_points: (module, channels of its output) of the two places for side branches, the earlier first.
    side_width: channels inside a side branch.
    pretrained_classifier: state dict of a linear classifier for exactly these features, if the weights had one.
    preprocessing: how the network expects its images.
    """

    num_features: int
    convolutional_classifier: bool = False
    convolution_init: str = "xavier"
    fast_stages: tuple[str, ...] = ()
    fast_convolutions: bool = True
    attention_points: tuple[str, ...] = ()
    side_points: tuple[tuple[str, int], ...] = ()
    side_width: int = 512
    pretrained_classifier: Mapping[str, torch.Tensor] | None = None
    preprocessing: Preprocessing = IMAGENET


class Backbone(nn.Sequential):
    """Named stages, run in order: images (B, 3, H, W) to features (B, num_features, h, w)."""

    def __init__(self, stages: Mapping[str, nn.Module], offer: Offer):
        super().__init__(OrderedDict(stages))
        self.offer = offer

    def extract(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last features; a network that is not a plain sequence overrides this."""
        return super().forward(images)

    def to_map(self, name: str, output: torch.Tensor) -> torch.Tensor:
        """Return a module's output as (B, C, h, w); a network with a different layout overrides this and `from_map`."""
        return output

    def from_map(self, name: str, feature_map: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Return a changed map in the layout of the module's `output`."""
        return feature_map

    def after(self, name: str, function: Callable[[torch.Tensor], torch.Tensor]) -> RemovableHandle:
        """Replace a module's output (B, C, h, w) by a function of it from now on; return the handle that removes it.

        A method calls this in its constructor, so that wrappers and compilers see the network as it will run. The function
        should be a bound method or a `partial` of one: a copy of the model then calls the copy's method.
        """
        return self.get_submodule(name).register_forward_hook(partial(self._replace, name, function))

    def _replace(
        self,
        name: str,
        function: Callable[[torch.Tensor], torch.Tensor],
        _module: nn.Module,
        _inputs: tuple,
        output: torch.Tensor,
    ) -> torch.Tensor:
        feature_map = self.to_map(name, output)
        changed = function(feature_map)
        return output if changed is feature_map else self.from_map(name, changed, output)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features."""
        return self.extract(images)
