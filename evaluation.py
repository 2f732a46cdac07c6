"""Score maps to MaxBoxAcc, MaxBoxAccV2 and PxAP; also the command that scores saved maps:

    python evaluation.py --scoremap_root train_log/my_run/scoremaps --dataset_name OxfordPet --split val \\
        --multi_contour_eval --multi_iou_eval
    python evaluation.py --center --dataset_name CUB --split test --multi_contour_eval --multi_iou_eval

In: score maps, float in [0, 1], and a split's metadata. Out: percentages, and the counts they come from. The exact
semantics are those of wsolevaluation (Choe et al., CVPR 2020; docs/evaluation.md).
"""

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from config import check_metric_options, evaluation_parser, parse_options
from wsol.boxes import (
    Candidates,
    best_ious,
    calculate_multiple_iou,
    candidate_boxes,
    compute_bboxes_from_scoremaps,
    map_ious,
    resize_bbox,
)
from wsol.center import center_map
from wsol.errors import InputError, MetadataError, NoPositiveError, command
from wsol.files import missing_files, write_json
from wsol.histogram import count_scores
from wsol.metadata import (
    check_boxes_fit,
    configure_metadata,
    first_names,
    get_bounding_boxes,
    get_image_ids,
    get_image_sizes,
    get_mask_paths,
    has_boxes,
    has_masks,
    read_id_list,
)
from wsol.progress import progress
from wsol.score_maps import check_score_map, read_score_maps

__all__ = [
    "BoxEvaluator",
    "MaskEvaluator",
    "calculate_multiple_iou",
    "compute_bboxes_from_scoremaps",
    "evaluate_wsol",
    "get_mask",
    "resize_bbox",
]

VIEW = (224, 224)  # the size of the original's maps, in which gt_bboxes and get_mask show the truth


class BoxEvaluator:
    """Counts, per IoU threshold and score-map threshold, the images whose best box reaches a true box.

    Args:
        metadata: paths of the split's files, as `configure_metadata` returns them.
        cam_threshold_list: score-map thresholds in [0, 1).
        iou_threshold_list: IoU thresholds in percent.
        mask_root: not used; boxes are in the metadata.
        multi_contour_eval: boxes of all contours (MaxBoxAccV2) instead of the largest one's (MaxBoxAcc).

    Attributes: `cnt` images so far; `num_correct`, IoU threshold to int array over score-map thresholds;
    `original_bboxes` and `image_sizes` by image id; `correct`, per image its packed bits of correctness.
    """

    def __init__(
        self,
        metadata: Mapping,
        dataset_name: str,
        split: str,
        cam_threshold_list: Sequence[float],
        iou_threshold_list: Sequence[int] = (50,),
        mask_root: str | None = None,
        multi_contour_eval: bool = False,
    ):
        self.dataset_name, self.split = dataset_name, split
        self.cam_threshold_list = list(cam_threshold_list)
        self.iou_threshold_list = list(iou_threshold_list)
        self.multi_contour_eval = multi_contour_eval
        self.original_bboxes = get_bounding_boxes(metadata)
        self.image_sizes = get_image_sizes(metadata)
        check_boxes_fit(metadata, self.original_bboxes, self.image_sizes)
        self.cnt = 0
        self.num_correct = {iou: np.zeros(len(self.cam_threshold_list), dtype=np.int64) for iou in iou_threshold_list}
        self.correct: list[tuple[str, np.ndarray]] = []

    @property
    def gt_bboxes(self) -> dict[str, list[tuple[int, ...]]]:
        """Image id to its true boxes in a 224 x 224 view of the image."""
        return {image_id: self._true_boxes(image_id, VIEW) for image_id in self.original_bboxes}

    def _true_boxes(self, image_id: str, size: tuple[int, int]) -> list[tuple[int, ...]]:
        if image_id not in self.original_bboxes:
            raise MetadataError(f"{self.dataset_name} {self.split}: {image_id!r} has no true box in localization.txt")
        return [resize_bbox(box, self.image_sizes[image_id], size) for box in self.original_bboxes[image_id]]

    def accumulate(self, scoremap: np.ndarray, image_id: str) -> None:
        """Score one map, float (H, W) in [0, 1] of any size, against the image's true boxes."""
        check_score_map(scoremap, image_id)
        true_boxes = np.array(self._true_boxes(image_id, scoremap.shape[::-1]))
        self._count(map_ious(scoremap, self.cam_threshold_list, true_boxes, self.multi_contour_eval), image_id)

    def accumulate_candidates(self, candidates: Candidates, shape: tuple[int, int], image_id: str) -> None:
        """Score the boxes of a map of the given (height, width)."""
        self._count(best_ious(candidates, np.array(self._true_boxes(image_id, shape[::-1]))), image_id)

    def _count(self, ious: np.ndarray, image_id: str) -> None:
        """Count one image from its best IoU at every score-map threshold."""
        correct = np.array([ious >= iou / 100 for iou in self.iou_threshold_list])
        for iou, row in zip(self.iou_threshold_list, correct, strict=True):
            self.num_correct[iou] += row
        self.cnt += 1
        self.correct.append((image_id, np.packbits(correct, axis=1)))

    def compute(self) -> list[float]:
        """Return MaxBoxAcc in percent, one per IoU threshold: the maximum over score-map thresholds."""
        return [float((self.num_correct[iou] * 100.0 / self.cnt).max()) for iou in self.iou_threshold_list]

    def merge(self, other: "BoxEvaluator") -> None:
        """Add the counts of an evaluator of other images: the sum is exactly that of one pass over both."""
        if (self.cam_threshold_list, self.iou_threshold_list, self.multi_contour_eval) != (
            other.cam_threshold_list,
            other.iou_threshold_list,
            other.multi_contour_eval,
        ):
            raise ValueError("evaluators with different thresholds or contour rules cannot be merged")
        for iou in self.iou_threshold_list:
            self.num_correct[iou] += other.num_correct[iou]
        self.cnt += other.cnt
        self.correct.extend(other.correct)

    def best_index(self, iou: int) -> int:
        """Return the position of the (first) score-map threshold that attains MaxBoxAcc at an IoU threshold."""
        return int(self.num_correct[iou].argmax())

    def correct_at(self, iou: int, index: int) -> dict[str, bool]:
        """Return image id to whether it is right at one IoU threshold and one score-map threshold's position."""
        row = self.iou_threshold_list.index(iou)
        return {image_id: bool(bits[row, index >> 3] >> (7 - (index & 7)) & 1) for image_id, bits in self.correct}


def _read_mask(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Return a mask file as bool (h, w), resized by nearest neighbour to `size` (w, h): any non-zero grey is true."""
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
    if mask is None:
        raise InputError(f"{path}: {'not a readable image' if path.is_file() else 'no such mask'}")
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_NEAREST) > 0.5


def get_mask(
    mask_root: str | os.PathLike, mask_paths: Iterable[str], ignore_path: str, size: tuple[int, int] = VIEW
) -> np.ndarray:
    """Return uint8 (h, w) of size (w, h): 1 in the union of the instance masks, 255 in the rest of the ignore mask."""
    foreground = np.zeros(size[::-1], dtype=bool)
    for mask_path in mask_paths:
        foreground |= _read_mask(Path(mask_root) / mask_path, size)
    mask = foreground.astype(np.uint8)
    if ignore_path:
        mask[_read_mask(Path(mask_root) / ignore_path, size) & ~foreground] = 255
    return mask


class MaskEvaluator:
    """Histograms of the scores of foreground and background pixels, for PxAP.

    Arguments as for BoxEvaluator; `mask_root` is the data set's own mask folder. Attributes:
    `gt_true_score_hist` and `gt_false_score_hist`, float64 (thresholds + 2,); `cnt` images so far.
    """

    def __init__(
        self,
        metadata: Mapping,
        dataset_name: str,
        split: str,
        cam_threshold_list: Sequence[float],
        iou_threshold_list: Sequence[int] = (50,),
        mask_root: str | os.PathLike = "",
        multi_contour_eval: bool = False,
    ):
        self.dataset_name, self.split = dataset_name, split
        self.mask_root = Path(mask_root)
        self.cam_threshold_list = list(cam_threshold_list)
        self.mask_paths, self.ignore_paths = get_mask_paths(metadata)
        self.edges = np.append(self.cam_threshold_list, [1.0, 2.0, 3.0])
        if (np.diff(self.edges) < 0).any():
            raise InputError("cam_threshold_list: expected thresholds in ascending order, none above 1")
        self.gt_true_score_hist = np.zeros(len(self.edges) - 1, dtype=np.float64)
        self.gt_false_score_hist = np.zeros(len(self.edges) - 1, dtype=np.float64)
        self.cnt = 0

    def accumulate(self, scoremap: np.ndarray, image_id: str) -> None:
        """Add one map's pixels, float (H, W) in [0, 1] of any size; ignored pixels count nowhere."""
        check_score_map(scoremap, image_id)
        if image_id not in self.mask_paths:
            raise MetadataError(f"{self.dataset_name} {self.split}: {image_id!r} has no true mask")
        size = scoremap.shape[::-1]
        mask = get_mask(self.mask_root, self.mask_paths[image_id], self.ignore_paths[image_id], size)
        counts = np.zeros((2, len(self.edges) - 1), dtype=np.int64)
        count_scores(np.ascontiguousarray(scoremap, dtype=np.float64), mask, self.edges, counts)
        self.gt_false_score_hist += counts[0]
        self.gt_true_score_hist += counts[1]
        self.cnt += 1

    def compute(self) -> float:
        """Return PxAP in percent: precision times the increase of recall, summed from the highest bin down.

        Raises:
            RuntimeError: no foreground pixel in the evaluation set.
        """
        true, false = self.gt_true_score_hist[::-1].cumsum(), self.gt_false_score_hist[::-1].cumsum()
        if not true[-1]:
            raise NoPositiveError(f"{self.dataset_name} {self.split}: no foreground pixel in any mask; PxAP needs one")
        predicted, recall_gain = (true + false)[1:], np.diff(true / true[-1])
        kept = predicted > 0
        return float((true[1:][kept] / predicted[kept] * recall_gain[kept]).sum() * 100)

    def merge(self, other: "MaskEvaluator") -> None:
        """Add the histograms of an evaluator of other images."""
        if self.cam_threshold_list != other.cam_threshold_list:
            raise ValueError("evaluators with different thresholds cannot be merged")
        self.gt_true_score_hist += other.gt_true_score_hist
        self.gt_false_score_hist += other.gt_false_score_hist
        self.cnt += other.cnt


class SplitEvaluator:
    """The evaluators that a split's metadata calls for, `boxes` and `masks` (None where it has none), as one."""

    def __init__(
        self,
        metadata_root: str | os.PathLike,
        mask_root: str | os.PathLike,
        dataset_name: str,
        split: str,
        cam_curve_interval: float,
        iou_threshold_list: Sequence[int],
        multi_contour_eval: bool,
        image_ids: Sequence[str] | None = None,
    ):
        folder = Path(metadata_root) / dataset_name / split
        if not folder.is_dir():
            raise InputError(f"{folder}: no metadata of the split {split!r} of {dataset_name!r}")
        metadata = configure_metadata(folder)
        self.image_ids = list(get_image_ids(metadata) if image_ids is None else image_ids)
        if not self.image_ids:
            raise InputError(f"{dataset_name} {split}: no image to evaluate")
        options = {
            "metadata": metadata,
            "dataset_name": dataset_name,
            "split": split,
            "cam_threshold_list": np.arange(0, 1, cam_curve_interval).tolist(),
            "iou_threshold_list": list(iou_threshold_list),
            "mask_root": Path(mask_root) / dataset_name,
            "multi_contour_eval": multi_contour_eval,
        }
        self.scored_ids: list[str] = []
        self.boxes = BoxEvaluator(**options) if has_boxes(metadata) else None
        self.masks = MaskEvaluator(**options) if has_masks(metadata) else None
        if not (self.boxes or self.masks):
            raise MetadataError(f"{metadata.localization}: no box and no mask; expected one for every image of {split}")
        for kind, truth in (
            ("box", self.boxes and self.boxes.original_bboxes),
            ("mask", self.masks and self.masks.mask_paths),
        ):
            missing = [image_id for image_id in self.image_ids if truth is not None and image_id not in truth]
            if missing:
                raise MetadataError(f"{folder}: {len(missing)} images have no true {kind}:" + first_names(missing))
        if masks := self.masks:
            paths = [path for image_id in self.image_ids for path in masks.mask_paths[image_id]]
            paths += [masks.ignore_paths[image_id] for image_id in self.image_ids if masks.ignore_paths[image_id]]
            if missing := missing_files(masks.mask_root, paths):
                raise InputError(
                    f"{masks.mask_root}: {len(missing)} of {len(paths)} masks are missing:" + first_names(missing)
                )

    @classmethod
    def of(cls, config: Mapping, split: str, image_ids: Sequence[str] | None = None) -> "SplitEvaluator":
        """Return the evaluator of a split as a command's options say, of some of its images or of all."""
        names = (
            "metadata_root",
            "mask_root",
            "dataset_name",
            "cam_curve_interval",
            "iou_threshold_list",
            "multi_contour_eval",
        )
        return cls(split=split, image_ids=image_ids, **{name: config[name] for name in names})

    def accumulate(self, score_map: np.ndarray, image_id: str) -> None:
        """Score one map."""
        for evaluator in filter(None, (self.boxes, self.masks)):
            evaluator.accumulate(score_map, image_id)
        self.scored_ids.append(image_id)

    def accumulate_center(self, side: int) -> None:
        """Score the Center baseline: one map of side x side pixels, the same for every image."""
        score_map = center_map(side, side)
        if self.boxes:
            thresholds, multi_contour = self.boxes.cam_threshold_list, self.boxes.multi_contour_eval
            candidates = candidate_boxes(score_map, thresholds, multi_contour)
            for image_id in self.image_ids:
                self.boxes.accumulate_candidates(candidates, score_map.shape, image_id)
        if self.masks:
            for image_id in progress(self.image_ids, "Center"):
                self.masks.accumulate(score_map, image_id)

    def results(self) -> dict:
        """Return the metrics in percent, the best score-map thresholds, and the counts they come from."""
        results: dict = {"MaxBoxAccV2": None, "MaxBoxAcc": None, "PxAP": None}
        counts: dict = {"images": (self.boxes or self.masks).cnt}
        if boxes := self.boxes:
            names = {iou: f"{iou:g}" for iou in boxes.iou_threshold_list}
            accuracies = dict(zip(names.values(), boxes.compute(), strict=True))
            best = {iou: boxes.best_index(iou) for iou in names}
            results["MaxBoxAcc"] = accuracies
            if boxes.multi_contour_eval:
                results["MaxBoxAccV2"] = float(np.mean(list(accuracies.values())))
            results["box_rule"] = "multi_contour" if boxes.multi_contour_eval else "largest_contour"
            results["best_threshold"] = {names[iou]: boxes.cam_threshold_list[best[iou]] for iou in names}
            counts["correct"] = {names[iou]: int(boxes.num_correct[iou][best[iou]]) for iou in names}
        if masks := self.masks:
            results["PxAP"] = masks.compute()
            counts["foreground_pixels"] = int(masks.gt_true_score_hist.sum())
            counts["background_pixels"] = int(masks.gt_false_score_hist.sum())
        return {**results, "counts": counts}


def headline(results: Mapping, multi_iou_eval: bool) -> float:
    """Return the one figure of a split's results: the mean over IoU thresholds or IoU 50's; PxAP without boxes."""
    if results["MaxBoxAcc"] is None:
        return results["PxAP"]
    return float(np.mean(list(results["MaxBoxAcc"].values()))) if multi_iou_eval else results["MaxBoxAcc"]["50"]


def format_results(results: Mapping, multi_iou_eval: bool) -> str:
    """Return a split's metrics as a few lines for a person: all IoU thresholds and their mean, or IoU 50 alone."""
    lines = []
    if results["MaxBoxAcc"] is not None:
        accuracies = results["MaxBoxAcc"]
        if multi_iou_eval:
            name = "MaxBoxAccV2" if results["MaxBoxAccV2"] is not None else "mean MaxBoxAcc"
            lines.append(f"{name}  {headline(results, True):.2f}")
        else:
            accuracies = {"50": accuracies["50"]}
        rule = results["box_rule"].replace("_", " ")
        for iou, accuracy in accuracies.items():
            threshold = results["best_threshold"][iou]
            lines.append(f"MaxBoxAcc at IoU {iou}  {accuracy:.2f}  (score-map threshold {threshold:.3f}, {rule})")
    if results["PxAP"] is not None:
        lines.append(f"PxAP  {results['PxAP']:.2f}")
    return "\n".join(lines)


def evaluate_wsol(
    scoremap_root: str | os.PathLike,
    metadata_root: str | os.PathLike,
    mask_root: str | os.PathLike,
    dataset_name: str,
    split: str,
    multi_contour_eval: bool,
    multi_iou_eval: bool,
    iou_threshold_list: Sequence[int],
    cam_curve_interval: float = 0.001,
) -> float:
    """Return the headline figure, in percent, of the maps saved under `scoremap_root`: MaxBoxAccV2 or the mean over IoU
    thresholds (`multi_iou_eval`), MaxBoxAcc at IoU 50, or PxAP for a data set that has masks only."""
    metric = {"cam_curve_interval": cam_curve_interval, "iou_threshold_list": iou_threshold_list}
    check_metric_options({**metric, "multi_iou_eval": multi_iou_eval})
    evaluator = SplitEvaluator(
        metadata_root, mask_root, dataset_name, split, cam_curve_interval, iou_threshold_list, multi_contour_eval
    )
    for image_id, score_map in read_score_maps(scoremap_root, evaluator.image_ids):
        evaluator.accumulate(score_map, image_id)
    return headline(evaluator.results(), multi_iou_eval)


def rescoring_command(config: Mapping, scoremap_root: str | os.PathLike, split: str, image_list: str | None) -> str:
    """Return the command line that scores a run's saved maps with the run's own options."""
    copied = ("metadata_root", "mask_root", "dataset_name", "cam_curve_interval", "multi_contour_eval", "multi_iou_eval")
    options = {"scoremap_root": scoremap_root, "split": split, **{name: config[name] for name in copied}}
    if image_list:
        options["image_list"] = image_list
    words = ["python", "evaluation.py"]
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    return shlex.join([*words, "--iou_threshold_list", *map(str, config["iou_threshold_list"])])


@command
def main() -> None:
    """Score saved maps, or the Center baseline."""
    options = parse_options(evaluation_parser(__doc__))
    check_metric_options(options)
    if options.center_size < 1:
        raise InputError(f"--center_size {options.center_size}: expected 1 or more")
    if options.json and os.path.isdir(options.json):
        raise InputError(f"--json {options.json}: a folder; expected a file")
    image_ids = read_id_list(options.image_list) if options.image_list else None
    evaluator = SplitEvaluator.of(options, options.split, image_ids)
    if options.center:
        evaluator.accumulate_center(options.center_size)
    else:
        maps = read_score_maps(options.scoremap_root, evaluator.image_ids)
        for image_id, score_map in progress(maps, "scoring", len(evaluator.image_ids)):
            evaluator.accumulate(score_map, image_id)
    results = evaluator.results()
    what = "the Center baseline" if options.center else options.scoremap_root
    print(f"{options.dataset_name} {options.split}, {results['counts']['images']} images, {what}")
    print(format_results(results, options.multi_iou_eval))
    if options.json:
        write_json(options.json, results)
        print(f"written: {options.json}")


if __name__ == "__main__":
    main()
