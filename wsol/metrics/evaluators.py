"""Evaluators: score maps in, counts out, and the metrics that the counts give.

Each is `score` (one map against its image's truth: pure arithmetic, safe in threads and processes), `add` (count what a
map gave), `accumulate` (both), `merge` (the counts of other images) and `compute`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from wsol.core.declared_size import MAX_MEGAPIXELS
from wsol.core.errors import InputError, MetadataError, NoPositiveError
from wsol.data.masks import VIEW, get_mask
from wsol.data.truth import BoxTruth, MaskTruth
from wsol.maps.score_maps import check_score_map
from wsol.metrics.boxes import Candidates, best_ious, calculate_multiple_iou, map_ious, resize_bbox
from wsol.metrics.histogram import count_scores
from wsol.metrics.weighted_sums import average_precision


class BoxEvaluator:
    """Counts, per IoU threshold and score-map threshold, the images whose best box reaches a true box.

    Args:
        metadata: paths of the split's files, as `configure_metadata` returns them, or the truth that was read from them.
        cam_threshold_list: score-map thresholds in [0, 1).
        iou_threshold_list: IoU thresholds in percent.
        mask_root: not used; boxes are in the metadata.
        multi_contour_eval: boxes of all contours (MaxBoxAccV2) instead of the largest one's (MaxBoxAcc).

    Attributes: `cnt` images so far; `num_correct`, IoU threshold to int array over score-map thresholds;
    `original_bboxes` and `image_sizes` by image id; `correct`, per image its packed bits of correctness, uint8 (IoU
    thresholds, score-map thresholds / 8): all that is kept of an image.
    """

    def __init__(
        self,
        metadata: Mapping[str, str] | BoxTruth,
        dataset_name: str,
        split: str,
        cam_threshold_list: Sequence[float],
        iou_threshold_list: Sequence[int] = (50,),
        mask_root: str | os.PathLike | None = None,
        multi_contour_eval: bool = False,
    ):
        self.dataset_name, self.split = dataset_name, split
        self.cam_threshold_list = list(cam_threshold_list)
        self.iou_threshold_list = list(iou_threshold_list)
        if len(set(self.iou_threshold_list)) < len(self.iou_threshold_list):
            raise InputError(f"iou_threshold_list {self.iou_threshold_list}: expected no duplicates")
        self.multi_contour_eval = multi_contour_eval
        truth = metadata if isinstance(metadata, BoxTruth) else BoxTruth.read(metadata)
        self.original_bboxes, self.image_sizes = truth.boxes, truth.sizes
        self.cnt = 0
        self.num_correct = {iou: np.zeros(len(self.cam_threshold_list), dtype=np.int64) for iou in iou_threshold_list}
        self.correct: list[tuple[str, np.ndarray]] = []

    @cached_property
    def gt_bboxes(self) -> dict[str, list[tuple[int, ...]]]:
        """Image id to its true boxes in a 224 x 224 view of the image."""
        return {image_id: self._scaled_boxes(image_id, VIEW) for image_id in self.original_bboxes}

    def _scaled_boxes(self, image_id: str, size: Sequence[int]) -> list[tuple[int, ...]]:
        if image_id not in self.original_bboxes:
            raise MetadataError(f"{self.dataset_name} {self.split}: {image_id!r} has no true box in localization.txt")
        return [resize_bbox(box, self.image_sizes[image_id], size) for box in self.original_bboxes[image_id]]

    def true_boxes(self, image_id: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return int64 (m, 4): an image's true boxes scaled to a map of the given (height, width)."""
        boxes = self._scaled_boxes(image_id, shape[::-1])
        return np.array(boxes)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of one image's packed bits."""
        return len(self.iou_threshold_list), -(-len(self.cam_threshold_list) // 8)

    def _packed(self, ious: np.ndarray) -> np.ndarray:
        return np.packbits([ious >= iou / 100 for iou in self.iou_threshold_list], axis=1)

    def score(self, scoremap: np.ndarray, image_id: str) -> np.ndarray:
        """Return the packed bits of one map, float (H, W) in [0, 1] of any size, against the image's true boxes."""
        check_score_map(scoremap, image_id)
        truth = self.true_boxes(image_id, scoremap.shape)
        return self._packed(map_ious(scoremap, self.cam_threshold_list, truth, self.multi_contour_eval))

    def score_candidates(self, candidates: Candidates, shape: tuple[int, int], image_id: str) -> np.ndarray:
        """Return the packed bits of the boxes of a map of the given (height, width)."""
        return self._packed(best_ious(candidates, self.true_boxes(image_id, shape)))

    def box_iou(self, box: Sequence[float], image_id: str, shape: tuple[int, int] | None = None) -> float:
        """Return the best IoU of a detector's box with the image's true boxes, in the image's own pixels, or in those of a
        view of it of the given (height, width)."""
        truth = np.array(self.original_bboxes[image_id]) if shape is None else self.true_boxes(image_id, shape)
        return float(calculate_multiple_iou(np.array([box]), truth).max())

    def score_box(self, box: Sequence[float] | None, image_id: str, shape: tuple[int, int] | None = None) -> np.ndarray:
        """Return the packed bits of a detector's box, in pixels as in `box_iou`; None is wrong at every threshold."""
        iou = -1.0 if box is None else self.box_iou(box, image_id, shape)
        return self._packed(np.full(len(self.cam_threshold_list), iou))

    def add(self, packed: np.ndarray, image_id: str) -> None:
        """Count one image, given its packed bits."""
        for iou, row in zip(self.iou_threshold_list, self._unpacked(packed), strict=True):
            self.num_correct[iou] += row
        self.cnt += 1
        self.correct.append((image_id, packed))

    def accumulate(self, scoremap: np.ndarray, image_id: str) -> None:
        """Score and count one map, float (H, W) in [0, 1] of any size."""
        self.add(self.score(scoremap, image_id), image_id)

    def compute(self) -> list[float]:
        """Return MaxBoxAcc in percent, one per IoU threshold: the maximum over score-map thresholds."""
        return [float((self.num_correct[iou] * 100.0 / self.cnt).max()) for iou in self.iou_threshold_list]

    def merge(self, other: "BoxEvaluator") -> None:
        """Add the counts of an evaluator of other images: the sum is exactly that of one pass over both."""
        for name in ("dataset_name", "split", "cam_threshold_list", "iou_threshold_list", "multi_contour_eval"):
            if getattr(self, name) != getattr(other, name):
                raise InputError(f"evaluators of a different {name} cannot be merged")
        if both := {image_id for image_id, _ in self.correct} & {image_id for image_id, _ in other.correct}:
            raise InputError(
                f"both evaluators have counted {sorted(both)[0]!r} ({len(both)} images); expected different images"
            )
        for iou in self.iou_threshold_list:
            self.num_correct[iou] += other.num_correct[iou]
        self.cnt += other.cnt
        self.correct.extend(other.correct)

    def _unpacked(self, packed: np.ndarray) -> np.ndarray:
        return np.unpackbits(packed, axis=1, count=len(self.cam_threshold_list))

    def images(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield every image's id and correctness, bool (IoU thresholds, score-map thresholds)."""
        for image_id, packed in self.correct:
            yield image_id, self._unpacked(packed).view(bool)

    def best_index(self, iou: int) -> int:
        """Return the position of the (first) score-map threshold that attains MaxBoxAcc at an IoU threshold."""
        return int(self.num_correct[iou].argmax())

    def correct_at(self, iou: int, index: int) -> dict[str, bool]:
        """Return image id to whether it is right at one IoU threshold and one score-map threshold's position."""
        row = self.iou_threshold_list.index(iou)
        return {image_id: bool(bits[row, index >> 3] >> (7 - (index & 7)) & 1) for image_id, bits in self.correct}


class MaskEvaluator:
    """Histograms of the scores of foreground and background pixels, for PxAP.

    Arguments as for BoxEvaluator; `mask_root` is the data set's own mask folder, `max_megapixels` the most that a mask may
    declare (a MaskTruth has both).

    Attributes: `gt_true_score_hist` and `gt_false_score_hist`, float64 (thresholds + 2,); `cnt` images so far.
    """

    def __init__(
        self,
        metadata: Mapping[str, str] | MaskTruth,
        dataset_name: str,
        split: str,
        cam_threshold_list: Sequence[float],
        iou_threshold_list: Sequence[int] = (50,),
        mask_root: str | os.PathLike = "",
        multi_contour_eval: bool = False,
        max_megapixels: float = MAX_MEGAPIXELS,
    ):
        self.dataset_name, self.split = dataset_name, split
        self.cam_threshold_list = list(cam_threshold_list)
        truth = metadata if isinstance(metadata, MaskTruth) else MaskTruth.read(metadata, mask_root, max_megapixels)
        self.mask_root, self.max_megapixels = truth.root, truth.max_megapixels
        self.mask_paths, self.ignore_paths, self.image_sizes = truth.paths, truth.ignored, truth.sizes
        self.edges = np.append(self.cam_threshold_list, [1.0, 2.0, 3.0])
        if (np.diff(self.edges) < 0).any():
            raise InputError("cam_threshold_list: expected thresholds in ascending order, none above 1")
        self.gt_true_score_hist = np.zeros(len(self.edges) - 1, dtype=np.float64)
        self.gt_false_score_hist = np.zeros(len(self.edges) - 1, dtype=np.float64)
        self.cnt = 0

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of one image's histograms."""
        return 2, len(self.edges) - 1

    def score(self, scoremap: np.ndarray, image_id: str) -> np.ndarray:
        """Return unsigned (2, thresholds + 2): one map's background and foreground pixels by score.

        The map is float (H, W) in [0, 1] of any size; ignored pixels count nowhere. The dtype is the smallest that holds the
        counts: evaluators of a split keep those of every image.
        """
        check_score_map(scoremap, image_id)
        if image_id not in self.mask_paths:
            raise MetadataError(f"{self.dataset_name} {self.split}: {image_id!r} has no true mask")
        paths, ignored = self.mask_paths[image_id], self.ignore_paths[image_id]
        size, image_size = scoremap.shape[::-1], self.image_sizes.get(image_id)
        mask = get_mask(self.mask_root, paths, ignored, size, image_size, self.max_megapixels)
        counts = np.zeros(self.shape, dtype=np.int64)
        count_scores(np.ascontiguousarray(scoremap, dtype=np.float64), mask, self.edges, counts)
        return counts.astype(np.min_scalar_type(counts.max()))

    def add(self, counts: np.ndarray) -> None:
        """Count one image, given its histograms."""
        self.gt_false_score_hist += counts[0]
        self.gt_true_score_hist += counts[1]
        self.cnt += 1

    def accumulate(self, scoremap: np.ndarray, image_id: str) -> None:
        """Score and count one map."""
        self.add(self.score(scoremap, image_id))

    def compute(self) -> float:
        """Return PxAP in percent.

        Raises:
            RuntimeError: no foreground pixel in the evaluation set.
        """
        if not self.gt_true_score_hist.any():
            raise NoPositiveError(f"{self.dataset_name} {self.split}: no foreground pixel in any mask; PxAP needs one")
        return float(average_precision(self.gt_true_score_hist, self.gt_false_score_hist))

    def merge(self, other: "MaskEvaluator") -> None:
        """Add the histograms of an evaluator of other images."""
        for name in ("dataset_name", "split", "cam_threshold_list"):
            if getattr(self, name) != getattr(other, name):
                raise InputError(f"evaluators of a different {name} cannot be merged")
        self.gt_true_score_hist += other.gt_true_score_hist
        self.gt_false_score_hist += other.gt_false_score_hist
        self.cnt += other.cnt
