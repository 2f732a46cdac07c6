"""What an architecture offers to a method: stages in order, features, and the places where a method may act on them.

In: images. Out: features (B, num_features, h, w). An architecture is a function that returns a `Backbone`; it knows nothing
about methods. A method asks it for one of three trunks:

    POOLED    features for one classifier on their mean
    BRANCHED  features for several convolutional branches
    GUIDED    features for one classifier, and two earlier places where side branches are supervised
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from wsol.core.errors import OptionError
from wsol.data.images import PREPROCESSINGS, THE_NETWORKS
from wsol.data.preprocessing import IMAGENET, Preprocessing
from wsol.networks.frozen import encode_frozen, fix_statistics, train_only

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
    preprocessing: how images are prepared for the network.
    own_preprocessing: how its weights expect them, for `preprocessing` "network"; None: as `preprocessing`.
    blocks: the network's blocks from first to last, each with names of modules or parameters; empty: a block per stage.
    new_stages: the last stages, if no pretrained weights have them; they are trained even if the network is frozen.
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
    own_preprocessing: Preprocessing | None = None
    blocks: tuple[tuple[str, ...], ...] = ()
    new_stages: tuple[str, ...] = ()


class Backbone(nn.Sequential):
    """Named stages, run in order: images (B, 3, H, W) to features (B, num_features, h, w)."""

    def __init__(self, stages: Mapping[str, nn.Module], offer: Offer):
        super().__init__(OrderedDict(stages))
        self.offer = offer
        self.image_size = (0, 0)  # (height, width) of the images, if the features cannot tell
        self.is_fixed = False  # some of its own parameters are not trained
        self.is_frozen = False  # none of them is
        self.is_watched = False  # a method acts on, or looks at, features inside the network
        self.takes_encoded = False  # `forward` is given what `encode` returned, not images

    def extract(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output of the network's own stages; a network that is not a plain sequence overrides this."""
        for name, stage in self.named_children():
            if name not in self.offer.new_stages:
                images = stage(images)
        return images

    def to_features(self, output: torch.Tensor) -> torch.Tensor:
        """Return the last features (B, num_features, h, w), of what `extract` returned."""
        for name in self.offer.new_stages:
            output = self.get_submodule(name)(output)
        return output

    def summarize(self, output: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Return (B, num_features): the class token of what `extract` returned, if it has one, else the features' mean."""
        return features.mean(dim=(2, 3))

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return what `extract` does; of a frozen network without autograd, and on a CPU from one image at a time."""
        return encode_frozen(self, images) if self.is_frozen else self.extract(images)

    def blocks(self) -> list[tuple[str, ...]]:
        """Return the network's blocks from first to last, each with names of modules or parameters; without new stages."""
        stages = [(name,) for name, stage in self.named_children() if next(stage.parameters(), None) is not None]
        return list(self.offer.blocks) or [stage for stage in stages if stage[0] not in self.offer.new_stages]

    def freeze(self) -> None:
        """Train only the new stages from now on: the rest has no gradient, and its batch statistics stay as they are."""
        train_only(self, self.offer.new_stages)
        self.is_fixed = self.is_frozen = True
        self.train(self.training)

    def train_last(self, count: int) -> None:
        """Train only the last `count` blocks, and the new stages, from now on; what precedes is as in `freeze`.

        Raises:
            OptionError: the network has fewer blocks.
        """
        blocks = self.blocks()
        if not 1 <= count <= len(blocks):
            raise OptionError("train_last_blocks", count, f"the network has {len(blocks)} blocks; expected 1 to that many")
        train_only(self, [*(name for block in blocks[-count:] for name in block), *self.offer.new_stages])
        self.is_fixed = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training mode; what is not trained stays in evaluation mode."""
        super().train(mode)
        if mode and self.is_fixed:
            fix_statistics(self)
        return self

    def choose_preprocessing(self, name: str) -> None:
        """Prepare images by ImageNet's statistics ("imagenet"), or by those that the network's weights expect ("network").

        Raises:
            OptionError: neither of the two.
        """
        if name not in PREPROCESSINGS:
            raise OptionError("preprocessing", name, f"expected one of {', '.join(PREPROCESSINGS)}")
        if name == THE_NETWORKS and self.offer.own_preprocessing:
            self.offer = replace(self.offer, preprocessing=self.offer.own_preprocessing)

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
        self.is_watched = True
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

    def forward(self, images: torch.Tensor, output: torch.Tensor | None = None) -> torch.Tensor:
        """Return the features; `output`: what `encode` returned for the images, if that is known."""
        if output is None:
            output = images if self.takes_encoded else self.encode(images)
        return self.to_features(output)

    def features_and_summary(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features, and (B, num_features) the network's own summary of each image, see `summarize`."""
        output = images if self.takes_encoded else self.encode(images)
        features = self(images, output)
        return features, self.summarize(output, features)
