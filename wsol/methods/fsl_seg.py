"""FSL-Seg: localization learned as segmentation from full supervision (Choe et al., CVPR 2020; Cole et al., ECCV 2022,
appendix 0.F.4).

Changes network, loss and map: a 1x1 convolution to one channel takes the classifier's place, and is trained on true masks.
"""

import torch
from torch import nn
from torch.nn import functional

from wsol.data.batches import Batch
from wsol.data.masks import IGNORED
from wsol.methods.draws import Draws
from wsol.methods.method import Method, Outputs
from wsol.networks.backbone import Backbone
from wsol.networks.initialize import initialize
from wsol.networks.shares import part_by_count

TIE = 1e-9  # rounding must not decide between halves


def masks_at(masks: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return uint8 masks (B, h, w) of the given size, from masks (B, H, W) of 0, 1 and 255 (ignored).

    A pixel is ignored if more than half of the area that it covers is; otherwise it is foreground if more than half of the
    rest is. So every pixel says what most of its area shows, whereas nearest neighbour would take one of some 64 pixels.

    >>> masks = torch.tensor([[[1, 1, 0, 255], [1, 0, 0, 255]]], dtype=torch.uint8)
    >>> masks_at(masks, (1, 2)).tolist()
    [[[1, 0]]]
    """
    areas = torch.stack([masks == 1, masks == IGNORED], dim=1).double()
    foreground, ignored = functional.adaptive_avg_pool2d(areas, size).unbind(1)
    smaller = (2 * foreground + ignored > 1 + TIE).to(torch.uint8)
    return smaller.masked_fill(2 * ignored > 1 + TIE, IGNORED)


def balanced_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy, a scalar, of map logits and masks (B, h, w), foreground and background balanced.

    The loss of an image is 1/2 (1/|F| sum_F -log s + 1/|G| sum_G -log(1 - s)) with s = sigmoid(logit), its foreground F and
    its background G (appendix 0.F.4). An image without one of them has the other's mean as its loss. The loss of a batch is
    the mean over the images that have a pixel that is not ignored, 0 if none has one.
    """
    logits = logits.float()
    losses, counted = torch.zeros(len(masks), device=logits.device), torch.zeros(len(masks), device=logits.device)
    for truth in (1, 0):
        pixels = (masks == truth).float()
        number = pixels.sum(dim=(1, 2))
        loss = functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth), reduction="none")
        losses = losses + (loss * pixels).sum(dim=(1, 2)) / number.clamp(min=1)
        counted = counted + (number > 0)
    images = (counted > 0).sum()
    return part_by_count((losses / counted.clamp(min=1)).sum() / images.clamp(min=1), images)


class FSLSeg(Method):
    """A backbone whose features (B, C, h, w) a 1x1 convolution maps to foreground scores. It tells no classes apart.

    The raw map is M(x, y) = sigmoid(b + sum_c w_c f_c(x, y)), for every label.
    """

    fast_layers = ("foreground",)

    def __init__(self, backbone: Backbone, num_classes: int):
        super().__init__(backbone, num_classes)
        self.foreground = nn.Conv2d(backbone.offer.num_features, 1, 1)
        initialize(self.foreground, backbone.offer.convolution_init)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return "map_logits" (B, h, w); labels are not used."""
        return {"map_logits": self.foreground(self.backbone(images)).squeeze(1)}

    def loss(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return the balanced loss; `labels` are masks (B, H, W) of the images, brought to the map's size."""
        logits = outputs["map_logits"]
        return balanced_loss(logits, masks_at(labels, (logits.shape[1], logits.shape[2])))

    def batch_step(self, batch: Batch, draws: Draws | None = None) -> tuple[Outputs, torch.Tensor]:
        """Return outputs and loss of a training step on a batch with masks."""
        if batch.masks is None:
            raise ValueError("a batch without masks; expected masks (B, H, W) to train FSL-Seg on")
        return self.training_step(batch.images, batch.masks, draws)

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Return the foreground scores, the same for every label."""
        return torch.sigmoid(outputs["map_logits"].detach().float())
