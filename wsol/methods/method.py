"""What a method may change in a training run: the network, its input, its loss, its maps.

A method is a subclass of `Method` in its own file. wsol/core/registry.py lists it with its options, which `__init__` takes
by keyword. Raw maps are detached float32.
"""

import torch
from torch import nn
from torch.nn import functional

from wsol.data.batches import Batch
from wsol.methods.draws import Draws, DrawSource, on_device, unnumbered
from wsol.networks.backbone import POOLED, Backbone

Outputs = dict[str, torch.Tensor]


class LinearClassifier(nn.Linear):
    """Class scores from the mean of the features.

    Class k's raw map is M_k(x, y) = 1/C sum_c w_kc f_c(x, y), without the bias (Zhou et al., CVPR 2016, eq. 2, up to the
    factor 1/C). Its mean times C plus the bias is the logit.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (B, num_classes) of features (B, C, h, w)."""
        return super().forward(features.mean(dim=(2, 3)))

    def maps(self, features: torch.Tensor, class_weights: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w): the mean of the class maps, weighted by `class_weights` (B, num_classes)."""
        with torch.autocast(features.device.type, enabled=False):
            weights = class_weights @ self.weight.detach().float()
            return torch.einsum("bchw,bc->bhw", features.detach().float(), weights) / features.shape[1]


class ConvolutionalClassifier(nn.Conv2d):
    """A 1x1 convolution to class maps, whose means are the class scores.

    Class k's raw map is M_k(x, y) = b_k + sum_c w_kc f_c(x, y); its mean is the logit.
    """

    bias: nn.Parameter  # optional in nn.Conv2d

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
    """A backbone and what a method adds to it."""

    trunk = POOLED  # the features that the method takes, one of the trunks of wsol/networks/backbone.py
    fast_layers: tuple[str, ...] = ()  # its own modules that learn at the classifier's rate on every architecture
    forward_uses_labels = False  # whether what `forward` returns depends on the labels
    # For several label levels at once (wsol/methods/level_heads.py): the outputs that have a column for each class, and
    # whether the loss is a mean over images of what does not depend on the batch's other images.
    class_outputs: tuple[str, ...] = ("logits",)
    loss_is_mean = True

    def __init__(self, backbone: Backbone, num_classes: int):
        super().__init__()
        self.backbone = backbone
        self.num_classes = num_classes

    @property
    def label_shape(self) -> tuple[int, ...]:
        """The shape of one image's label in training; () for a class."""
        return ()

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return at least "logits" (B, num_classes) for images (B, 3, H, W), unless the method tells no classes apart.

        Without labels, the predicted class takes the place of the label. A detector returns "boxes", float (B, 4): x0, y0,
        x1, y1 in pixels of the images, NaN where it finds nothing.
        """
        raise NotImplementedError

    def loss(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of one batch, a scalar; by default the mean cross-entropy."""
        return functional.cross_entropy(outputs["logits"], labels)

    def draw(self, source: DrawSource, size: tuple[int, int]) -> Draws:
        """Return the random draws of one training step on images of (height, width), as tensors on the CPU by name."""
        return {}

    def draw_now(self, images: torch.Tensor) -> Draws:
        """Return the draws of a step on images (B, C, H, W), on their device, seeded from torch's own generator."""
        height, width = images.shape[2:]
        return on_device(self.draw(unnumbered(len(images)), (height, width)), images.device)

    def training_step(
        self, images: torch.Tensor, labels: torch.Tensor, draws: Draws | None = None
    ) -> tuple[Outputs, torch.Tensor]:
        """Return outputs and loss of a training step; `draws` come from `draw`, on the images' device (None: drawn now)."""
        return self.step(images, labels, self.draw_now(images) if draws is None else draws)

    def step(self, images: torch.Tensor, labels: torch.Tensor, draws: Draws) -> tuple[Outputs, torch.Tensor]:
        """Return outputs and loss of a training step; a method may change images, labels and loss according to its draws."""
        outputs = self(images, labels)
        return outputs, self.loss(outputs, labels)

    def batch_step(self, batch: Batch, draws: Draws | None = None) -> tuple[Outputs, torch.Tensor]:
        """Return outputs and loss of a training step on a batch on the model's device; `draws` as in `training_step`.

        A method that is not trained on labels takes the batch's masks or boxes instead.
        """
        return self.training_step(batch.images, batch.labels, draws)

    def mean_maps(self, outputs: Outputs, class_weights: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w): the mean of the raw class maps, weighted by `class_weights` (B, num_classes).

        The rows of `class_weights` sum to one.
        """
        raise NotImplementedError

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w): the raw maps of the given labels, from the outputs of a forward pass."""
        return self.mean_maps(outputs, functional.one_hot(labels, self.num_classes).float())

    def score_maps(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return (B, h, w): the raw maps of the given labels for images (B, 3, H, W)."""
        return self.raw_maps(self(images, labels), labels)

    def parameter_groups(self, lr: float, lr_classifier_ratio: float) -> list[dict]:
        """Return SGD parameter groups: classifier and fast stages at lr * lr_classifier_ratio, all else at lr.

        The backbone's offer says which stages are fast, and whether the method's own convolutions are; `fast_layers` always
        are. What is frozen is in no group.
        """
        offer = self.backbone.offer
        fast = tuple(f"{name}." for name in (*(f"backbone.{stage}" for stage in offer.fast_stages), *self.fast_layers))
        linear = {
            f"{name}.{kind}"
            for name, layer in self.named_modules()
            for kind in ("weight", "bias")
            if isinstance(layer, nn.Linear)
        }
        groups: tuple[list, list] = ([], [])
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                continue
            own = not name.startswith("backbone.") and (offer.fast_convolutions or name in linear)
            groups[own or name.startswith(fast)].append(parameter)
        return [{"params": groups[0], "lr": lr}, {"params": groups[1], "lr": lr * lr_classifier_ratio}]


def min_max(maps: torch.Tensor) -> torch.Tensor:
    """Return maps (..., h, w), each scaled to [0, 1]; a constant map gives zeros (docs/evaluation.md, "Exceptions").

    >>> min_max(torch.tensor([[1.0, 2.0, 5.0], [3.0, 3.0, 3.0]])[:, None]).squeeze(1).tolist()
    [[0.0, 0.25, 1.0], [0.0, 0.0, 0.0]]
    """
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    spread = high - low
    return (maps - low) / torch.where(spread > 0, spread, 1)


def attention_of(maps: torch.Tensor) -> torch.Tensor:
    """Return maps (..., h, w), each scaled to [0, 1], for use in training.

    A constant map gives NaN, as 0 / 0 does in wsolevaluation. NaN is neither above nor below a threshold, so such a map
    teaches and erases nothing.
    """
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low)
