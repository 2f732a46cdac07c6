"""FSL-Det: localization learned as detection from full supervision (Cole et al., ECCV 2022, appendix 0.F.5).

Changes network, loss and output: torchvision's Faster R-CNN (Ren et al., NeurIPS 2015) on the same backbone is trained on
true boxes of one class, the object. It gives the box of the highest score instead of a map. docs/methods.md says where it
departs from the paper's configuration.
"""

from collections.abc import Sequence
from types import SimpleNamespace

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import roi_align

from wsol.core.errors import InputError
from wsol.data.batches import Batch
from wsol.methods.draws import Draws
from wsol.methods.method import Method, Outputs
from wsol.networks.backbone import Backbone
from wsol.networks.initialize import initialize

CHANNELS = 256  # of the map that proposals and boxes are made from, as in torchvision's feature pyramid
ANCHOR_SIZES = tuple(pixels / 600 for pixels in (64, 128, 256, 512))  # shares of the image's side: TensorFlow's, at 600 px
ASPECT_RATIOS = (0.5, 1.0, 2.0)
PROPOSALS = 300  # per image
SAMPLED = 64  # proposals per image that the box head is trained on
POOLED_SIDE = 7


class RelativeAnchors(AnchorGenerator):
    """Anchors whose sizes are shares of the image's longer side, on one map."""

    def forward(self, image_list: ImageList, feature_maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return every image's anchors (h * w * anchors per position, 4), in pixels."""
        side = max(image_list.tensors.shape[-2:])
        self.cell_anchors = [self.generate_anchors([share * side for share in ANCHOR_SIZES], list(ASPECT_RATIOS))]
        return super().forward(image_list, feature_maps)


class OneLevelPool(nn.Module):
    """RoIAlign on one map of any stride; torchvision's own pooling takes the stride for a power of two."""

    def forward(
        self, features: dict[str, torch.Tensor], boxes: list[torch.Tensor], image_sizes: Sequence[tuple[int, int]]
    ) -> torch.Tensor:
        """Return (boxes of all images, CHANNELS, POOLED_SIDE, POOLED_SIDE); `boxes` are in pixels of the images."""
        scale = features["0"].shape[3] / image_sizes[0][1]
        return roi_align(features["0"], boxes, POOLED_SIDE, scale, sampling_ratio=2, aligned=True)


class FSLDet(Method):
    """Faster R-CNN on a backbone's features, through a 1x1 convolution. It tells no classes apart.

    torchvision's resizing and normalisation of images are left out: images come preprocessed, all of one size.
    """

    fast_layers = ("reduce", "proposals", "heads")

    def __init__(self, backbone: Backbone, num_classes: int):
        super().__init__(backbone, num_classes)
        self.reduce = nn.Conv2d(backbone.offer.num_features, CHANNELS, 1)
        initialize(self.reduce, backbone.offer.convolution_init)
        network = FasterRCNN(
            SimpleNamespace(out_channels=CHANNELS),  # only the parts behind the backbone are used
            num_classes=2,  # background and object
            rpn_anchor_generator=RelativeAnchors((ANCHOR_SIZES,), (ASPECT_RATIOS,)),
            rpn_post_nms_top_n_train=PROPOSALS,
            rpn_post_nms_top_n_test=PROPOSALS,
            box_batch_size_per_image=SAMPLED,
            box_detections_per_img=1,
        )
        self.proposals, self.heads = network.rpn, network.roi_heads
        self.heads.box_roi_pool = OneLevelPool()

    def _run(
        self, images: torch.Tensor, targets: list[dict[str, torch.Tensor]] | None
    ) -> tuple[list[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
        """Return (detections per image, losses). Behind the backbone all is float32, in which coordinates are exact."""
        features = self.reduce(self.backbone(images))
        sizes = [(images.shape[2], images.shape[3])] * len(images)
        with torch.autocast(images.device.type, enabled=False):
            maps = {"0": features.float()}
            proposals, proposal_losses = self.proposals(ImageList(images, sizes), maps, targets)
            found, losses = self.heads(maps, proposals, sizes, targets)
        return found, {**proposal_losses, **losses}

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Outputs:
        """Return "boxes" (B, 4), the box of the highest score in pixels of the images, and "scores" (B,); NaN where nothing
        is found. Only in evaluation mode. Labels are not used."""
        found, _ = self._run(images, None)
        boxes, scores = images.new_full((len(images), 4), torch.nan), images.new_full((len(images),), torch.nan)
        for number, one in enumerate(found):
            if len(one["boxes"]):
                boxes[number], scores[number] = one["boxes"][0], one["scores"][0]
        return {"boxes": boxes, "scores": scores}

    def batch_step(self, batch: Batch, draws: Draws | None = None) -> tuple[Outputs, torch.Tensor]:
        """Return no outputs, and the loss of a training step on a batch with boxes: the sum of Faster R-CNN's four losses.

        L = L_objectness + L_proposal_box + L_class + L_box. Anchors and proposals are sampled with torch's own generator.
        """
        if batch.boxes is None:
            raise ValueError("a batch without boxes; expected boxes (m, 4) per image to train FSL-Det on")
        targets = [
            {"boxes": boxes.float(), "labels": torch.ones(len(boxes), dtype=torch.int64, device=boxes.device)}
            for boxes in batch.boxes
        ]
        _, losses = self._run(batch.images, targets)
        return {}, torch.stack(list(losses.values())).sum()

    def raw_maps(self, outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
        """Raise InputError: there are no maps."""
        raise InputError("fsl_det gives boxes, not score maps")
