"""Several label levels learned at once, by any method that is trained on labels: a classifier for each on shared features.

In: a method's class. Out: the same method with the classes of all levels one after another, whose loss is the weighted mean
over the levels of the method's own loss; and what makes of such a model one of a single level, or one whose maps are the
mean of all levels' maps.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, cast

import torch
from torch.nn import functional

from wsol.core.errors import OptionError, OptionName
from wsol.data.batches import Batch
from wsol.data.level_set import MEAN, TrainedLevel
from wsol.data.levels import LevelSplit
from wsol.methods.draws import Draws
from wsol.methods.method import Method, Outputs, min_max
from wsol.networks.backbone import Backbone
from wsol.networks.shares import part_by_count


def level_weights(weights: Sequence[float] | None, levels: int) -> tuple[float, ...]:
    """Return the weights of the levels' losses, which sum to 1; None: equal ones.

    >>> level_weights([1, 1, 0.5], 3), level_weights(None, 2)
    ((0.4, 0.4, 0.2), (0.5, 0.5))

    Raises:
        OptionError: not as many as there are levels.
    """
    given = [1.0] * levels if weights is None else list(weights)
    if len(given) != levels:
        shown = " ".join(f"{weight:g}" for weight in given)
        raise OptionError(
            "level_weights", shown, f"expected {levels} numbers, one for each level of ", OptionName("label_level")
        )
    return tuple(weight / sum(given) for weight in given)


class AtLevels(Method):
    """What turns a method into one of several levels; `at_levels` mixes it in.

    The network is the method's with sum_l K_l classes: those of the first level, then those of the second, and so on. Labels
    are int64 (B, levels), each counted from 0 within its level. The loss is L = sum_l w_l L_l with sum_l w_l = 1, where L_l
    is the method's own loss when the classes of the other levels are impossible: their logits are -inf, so they have neither
    probability nor gradient. An image without a class at a level, label -1, has no part in that level's loss, which is a
    mean over the others. Where a method looks at labels before the loss (ACoL erases by their maps), they are those of the
    first level.
    """

    leaves_out: tuple[bool, ...]  # whether training images have no class, at each level

    def __init__(self, backbone: Backbone, sizes: Sequence[int], weights: Sequence[float], **options: Any):
        super().__init__(backbone, sum(sizes), **options)  # of the method's class, which takes the options
        self.sizes, self.weights = tuple(sizes), tuple(weights)
        self.ends = tuple(accumulate(sizes))
        self.leaves_out = (False,) * len(sizes)

    @property
    def label_shape(self) -> tuple[int, ...]:
        """The shape of one image's label."""
        return (len(self.sizes),)

    def start(self, number: int) -> int:
        """Return the position among all classes of a level's first class."""
        return self.ends[number] - self.sizes[number]

    def learn_from(self, leaves_out: Sequence[bool]) -> None:
        """Take note at which levels some training images have no class.

        Raises:
            OptionError: there are such levels, and the method's loss is not a mean over images.
        """
        if any(leaves_out) and not self.loss_is_mean:
            raise OptionError(
                "label_level", "", "some training images have no class at one of the levels, and this method's loss is not "
                "a mean over images from which they could be left out; expected levels that all images have"
            )  # fmt: skip
        self.leaves_out = tuple(leaves_out)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None, *more: Any) -> Outputs:
        """Return the method's outputs for all classes; labels are (B, levels), or (B,) counted over all classes."""
        return super().forward(images, labels[:, 0] if labels is not None and labels.ndim == 2 else labels, *more)

    def loss(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return the weighted mean over the levels of the method's loss; labels are (B, levels)."""
        losses = [weight * self._level_loss(outputs, labels[:, n], n) for n, weight in enumerate(self.weights)]
        return torch.stack(losses).sum()

    def _level_loss(self, outputs: Outputs, labels: torch.Tensor, number: int) -> torch.Tensor:
        """Return the method's loss at one level, for labels (B,) that count within it."""
        count = None
        if self.leaves_out[number]:
            has = labels >= 0
            outputs, labels, count = {name: value[has] for name, value in outputs.items()}, labels[has], has.sum()
        if count is not None and not len(labels):
            return part_by_count(0 * outputs["logits"].sum(), count)
        start = self.start(number)
        around = (start, self.num_classes - self.ends[number])
        alone = {
            name: functional.pad(outputs[name][:, start : self.ends[number]], around, value=-torch.inf)
            for name in self.class_outputs
        }
        loss = super().loss({**outputs, **alone}, labels + start)
        return loss if count is None else part_by_count(loss, count)

    def batch_step(self, batch: Batch, draws: Draws | None = None) -> tuple[Outputs, torch.Tensor]:
        """Return outputs and loss of a training step on a batch; the outputs have the logits of the first level."""
        outputs, loss = super().batch_step(batch, draws)
        return {**outputs, "logits": outputs["logits"][:, : self.sizes[0]]}, loss


def at_levels(method: type[Method]) -> type[AtLevels]:
    """Return a method's class for several levels at once; see `AtLevels`."""
    return cast("type[AtLevels]", type(f"{method.__name__}AtLevels", (AtLevels, method), {}))


class LevelView(Method):
    """A model of several levels as one of a single level: its classes, its maps. Weights are shared; it is not trained."""

    def __init__(self, model: AtLevels, number: int):
        super().__init__(model.backbone, model.sizes[number])
        self.model, self.start = model, model.start(number)
        self.forward_uses_labels = model.forward_uses_labels

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return the model's outputs, those with a column for each class for this level's classes alone."""
        outputs = self._own(self.model(images, None if labels is None else labels + self.start))
        if labels is None and self.forward_uses_labels:  # the predicted class of this level, not of any
            return self(images, outputs["logits"].argmax(dim=1))
        return outputs

    def _own(self, outputs: Outputs) -> Outputs:
        own = slice(self.start, self.start + self.num_classes)
        return {**outputs, **{name: outputs[name][:, own] for name in self.model.class_outputs}}

    def mean_maps(self, outputs: Outputs, class_weights: torch.Tensor) -> torch.Tensor:
        """Return the weighted mean of this level's maps."""
        around = (self.start, self.model.num_classes - self.start - self.num_classes)
        return self.model.mean_maps(outputs, functional.pad(class_weights, around))

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return the maps of this level's labels."""
        return self.model.raw_maps(outputs, labels + self.start)


class MeanView(LevelView):
    """A model of several levels as one of the first level, whose maps are the mean of all levels' maps.

    The map of class k is M(k) = 1 / |A| sum_l n(M_l(a_l(k))) over the levels A at which k has an ancestor a_l(k), itself at
    the first one; n scales a raw map, at its own size, to [0, 1], a constant one to zeros. `of_first`: for each level a_l,
    -1 for none.
    """

    ancestors: torch.Tensor

    def __init__(self, model: AtLevels, of_first: Sequence[Sequence[int]]):
        super().__init__(model, 0)
        self.register_buffer("ancestors", torch.tensor(of_first), persistent=False)  # int64 (levels, classes of the first)

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean of the normalised maps of the labels' ancestors."""
        total, count = torch.zeros((), device=labels.device), torch.zeros((), device=labels.device)
        for number, classes in enumerate(self.ancestors):
            own = classes[labels]
            has = (own >= 0).float()[:, None, None]
            maps = self.model.raw_maps(outputs, own.clamp(min=0) + self.model.start(number))
            total, count = total + min_max(maps) * has, count + has
        return total / count


def level_view(model: Method, levels: Sequence[TrainedLevel], map_level: str | None) -> LevelView:
    """Return a model of several levels as one of `map_level`, one of them or the mean; None: the first one."""
    several = cast("AtLevels", model)
    if map_level == MEAN:
        return MeanView(several, [one.of_first or [] for one in levels])  # check_map_level has refused None
    names = [one.level for one in levels]
    return LevelView(several, 0 if map_level is None else names.index(map_level))


def learn_levels(model: Method, train: LevelSplit) -> None:
    """Tell a model of several levels which of them leave training images out; see `AtLevels.learn_from`."""
    if train.at_levels is not None:
        cast("AtLevels", model).learn_from([bool((labels < 0).any()) for labels in train.at_levels.T])
