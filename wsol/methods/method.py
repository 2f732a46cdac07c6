"""What a method may change of a training run: the network, its input, its loss, its maps.

A method is a subclass of `Method` in a file of its own, named in wsol/core/registry.py with its options, which
`__init__` takes by keyword. Raw maps are detached float32.
"""

import torch
from torch import nn
from torch.nn import functional

from wsol.methods.draws import Draws, DrawSource, on_device, unnumbered
from wsol.networks.backbone import POOLED, Backbone

Outputs = dict[str, torch.Tensor]


class LinearClassifier(nn.Linear):
    """Class scores of the features' mean. A class's raw map is its weights times the features, averaged over channels,
    without the bias (Zhou et al., CVPR 2016, eq. 2, up to the factor)."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (B, num_classes) of features (B, C, h, w)."""
        return super().forward(features.mean(dim=(2, 3)))

    def maps(self, features: torch.Tensor, class_weights: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w): the mean of the class maps, weighted by `class_weights` (B, num_classes)."""
        with torch.autocast(features.device.type, enabled=False):
            weights = class_weights @ self.weight.detach().float()
            return torch.einsum("bchw,bc->bhw", features.detach().float(), weights) / features.shape[1]


class ConvolutionalClassifier(nn.Conv2d):
    """A 1x1 convolution to class maps, and their means as class scores."""

    bias: nn.Parameter  # which nn.Conv2d may lack

    def __init__(self, in_channels: int, num_classes: int):
        super().__init__(in_channels, num_classes, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (B, num_classes) of features (B, C, h, w); the mean of the maps is the map of the mean."""
        return functional.linear(features.mean(dim=(2, 3)), self.weight.flatten(1), self.bias)

    def maps(self, features: torch.Tensor, class_weights: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w): the mean of the class maps, bias included, weighted by `class_weights` (B, num_classes)."""
        with torch.autocast(features.device.type, enabled=False):
            weights = class_weights @ self.weight.detach().float().flatten(1)
            bias = class_weights @ self.bias.detach().float()
            return torch.einsum("bchw,bc->bhw", features.detach().float(), weights) + bias[:, None, None]

    def all_maps(self, features: torch.Tensor) -> torch.Tensor:
        """Return (B, num_classes, h, w): every class map."""
        with torch.autocast(features.device.type, enabled=False):
            return functional.conv2d(features.detach().float(), self.weight.detach().float(), self.bias.detach().float())


class Method(nn.Module):
    """A backbone and what a method puts on it."""

    trunk = POOLED  # of wsol/networks/backbone.py: which features the method takes

    def __init__(self, backbone: Backbone, num_classes: int):
        super().__init__()
        self.backbone = backbone
        self.num_classes = num_classes

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return at least "logits" (B, num_classes); what a method does to a label's map it does to the predicted class's
        where there are no labels."""
        raise NotImplementedError

    def loss(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of one batch; unless a method says otherwise, the mean cross-entropy."""
        return functional.cross_entropy(outputs["logits"], labels)

    def draw(self, source: DrawSource, size: tuple[int, int]) -> Draws:
        """Return what one training step on images of (height, width) draws at random, tensors on the CPU by name."""
        return {}

    def draw_now(self, images: torch.Tensor) -> Draws:
        """Return the draws of a step on images (B, C, H, W), on their device, from torch's own generator."""
        height, width = images.shape[2:]
        return on_device(self.draw(unnumbered(len(images)), (height, width)), images.device)

    def training_step(
        self, images: torch.Tensor, labels: torch.Tensor, draws: Draws | None = None
    ) -> tuple[Outputs, torch.Tensor]:
        """Return outputs and loss in training; `draws` as from `draw`, on the images' device, None: drawn now."""
        return self.step(images, labels, self.draw_now(images) if draws is None else draws)

    def step(self, images: torch.Tensor, labels: torch.Tensor, draws: Draws) -> tuple[Outputs, torch.Tensor]:
        """Return outputs and loss in training, where a method may change images, labels and loss by what it has drawn."""
        outputs = self(images, labels)
        return outputs, self.loss(outputs, labels)

    def mean_maps(self, outputs: Outputs, class_weights: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w): the mean of the raw class maps, weighted by `class_weights` (B, num_classes), whose rows sum
        to one."""
        raise NotImplementedError

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w): the raw maps of the given labels, from one forward pass's outputs."""
        return self.mean_maps(outputs, functional.one_hot(labels, self.num_classes).float())

    def score_maps(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w): the raw maps of the given labels."""
        return self.raw_maps(self(images, labels), labels)

    def parameter_groups(self, lr: float, lr_classifier_ratio: float) -> list[dict]:
        """Return SGD groups: the classifier and the backbone's fast stages at lr * ratio, all else at lr."""
        offer = self.backbone.offer
        stages = tuple(f"backbone.{stage}." for stage in offer.fast_stages)
        linear = {
            f"{name}.{kind}"
            for name, layer in self.named_modules()
            for kind in ("weight", "bias")
            if isinstance(layer, nn.Linear)
        }
        groups: tuple[list, list] = ([], [])
        for name, parameter in self.named_parameters():
            own = not name.startswith("backbone.") and (offer.fast_convolutions or name in linear)
            groups[own or name.startswith(stages)].append(parameter)
        return [{"params": groups[0], "lr": lr}, {"params": groups[1], "lr": lr * lr_classifier_ratio}]


def min_max(maps: torch.Tensor) -> torch.Tensor:
    """Return maps (..., h, w), each scaled to [0, 1]; a constant one gives zeros (docs/evaluation.md, "Exceptions")."""
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    spread = high - low
    return (maps - low) / torch.where(spread > 0, spread, 1)


def attention_of(maps: torch.Tensor) -> torch.Tensor:
    """Return maps (..., h, w), each scaled to [0, 1] for what they teach or erase in training: a constant one gives NaN, as
    0 / 0 does in wsolevaluation, and so reaches no threshold from either side."""
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low)
