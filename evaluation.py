"""Score maps to MaxBoxAcc, MaxBoxAccV2 and PxAP; also the command that scores saved maps:

    python evaluation.py --scoremap_root train_log/my_run/scoremaps --dataset_name OxfordPet --split val \\
        --multi_contour_eval --multi_iou_eval
    python evaluation.py --center --dataset_name CUB --split test --multi_contour_eval --multi_iou_eval
    python evaluation.py --boxes detections.json --dataset_name CUB --split test --multi_iou_eval

In: score maps, float in [0, 1], or a detector's boxes, and a split's metadata. Out: percentages, the counts they come from,
and how sure they are. The exact semantics are those of wsolevaluation (Choe et al., CVPR 2020; docs/evaluation.md).
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from munch import Munch

from config import check_evaluation_options, check_metric_options, evaluation_parser, parse_options
from wsol.boxes import calculate_multiple_iou, compute_bboxes_from_scoremaps, resize_bbox
from wsol.confidence import compare, intervals
from wsol.detections import read_coco_names, read_detections
from wsol.errors import InputError, command
from wsol.evaluators import BoxEvaluator, MaskEvaluator
from wsol.files import write_json
from wsol.levels import SPLITS
from wsol.map_details import summarize
from wsol.masks import get_mask
from wsol.metadata import first_names, read_id_list
from wsol.score_maps import find_score_maps, sort_others
from wsol.scoring import Center, Describe, Detections, SavedMaps, Source
from wsol.split_evaluator import DETECTIONS, LOC_IOU, SplitEvaluator, headline, read_known_ids
from wsol.tables import check_table_path, class_rows, curve_rows, read_class_ranks, write_table
from wsol.val_thresholds import read_val_thresholds

__all__ = [
    "BoxEvaluator",
    "MaskEvaluator",
    "calculate_multiple_iou",
    "compute_bboxes_from_scoremaps",
    "evaluate_wsol",
    "get_mask",
    "resize_bbox",
]

CENTER = "center"  # what --compare takes beside a folder or file


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
    files = find_score_maps(scoremap_root, evaluator.image_ids)
    files.require_all()
    SavedMaps(files).score(evaluator)
    return headline(evaluator.results(), multi_iou_eval)


def format_results(results: Mapping, multi_iou_eval: bool) -> str:
    """Return a split's metrics as lines for a person: all IoU thresholds and their mean, or IoU 50 alone."""
    found = results.get("intervals") or {}

    def line(name: str, value: float, interval: Sequence[float] | None, note: str = "") -> str:
        sure = f"  [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
        return f"{name}  {value:.2f}{sure}{note}"

    lines = []
    for suffix, title in (("", ""), ("_at_val_threshold", " at val's threshold")):
        accuracies = results.get(f"MaxBoxAcc{suffix}")
        if accuracies is None:
            continue
        rule = results["box_rule"].replace("_", " ")
        mean = results[f"MaxBoxAccV2{suffix}"]
        if multi_iou_eval and mean is not None:
            lines.append(line(f"MaxBoxAccV2{title}", mean, found.get(f"MaxBoxAccV2{suffix}")))
        elif multi_iou_eval:
            lines.append(line(f"mean MaxBoxAcc{title}", sum(accuracies.values()) / len(accuracies), None))
        thresholds = results["val_threshold" if suffix else "best_threshold"]
        for iou, accuracy in accuracies.items():
            if multi_iou_eval or iou == str(LOC_IOU):
                where = f"score-map threshold {thresholds[iou]:.3f}, {rule}" if thresholds else rule
                interval = (found.get(f"MaxBoxAcc{suffix}") or {}).get(iou)
                lines.append(line(f"MaxBoxAcc at IoU {iou}{title}", accuracy, interval, f"  ({where})"))
    if results["PxAP"] is not None:
        lines.append(line("PxAP", results["PxAP"], found.get("PxAP")))
    names = {"gt_known_loc": "GT-known Loc", "top1_loc": "Top-1 Loc", "top5_loc": "Top-5 Loc"}
    names |= {"top1_cls": "Top-1 Cls", "top5_cls": "Top-5 Cls"}
    if results.get("top1_cls") is not None:
        lines += [line(names[key], results[key], found.get(key)) for key in names if results.get(key) is not None]
    if found:
        lines.append(f"[low, high]: {found['percent']} % bootstrap intervals, {found['resamples']} resamples of the images")
    return "\n".join(lines)


def rescoring_command(config: Mapping, scoremap_root: str | os.PathLike, split: str, files: Mapping[str, object]) -> str:
    """Return the command line that scores a run's saved maps with the run's own options; `files` are options too."""
    copied = ("metadata_root", "mask_root", "dataset_name", "cam_curve_interval", "multi_contour_eval", "multi_iou_eval")
    copied += ("bootstrap", "seed")
    options = {"scoremap_root": scoremap_root, "split": split, **{name: config[name] for name in copied}, **files}
    words = ["python", "evaluation.py"]
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    return shlex.join([*words, "--iou_threshold_list", *map(str, config["iou_threshold_list"])])


# The command, in its order of work: find what is to be scored, count it, look at each map, report.


def warn(message: str) -> None:
    """Say on standard error what a user should not overlook."""
    print(f"WARNING: {message}", file=sys.stderr)


def make_evaluator(options: Munch) -> SplitEvaluator:
    """Return the evaluator of the command's split, ready to resample."""
    image_ids = read_id_list(options.image_list) if options.image_list else None
    interval = 1.0 if options.boxes else options.cam_curve_interval  # a box needs no score-map threshold but the first, 0
    evaluator = SplitEvaluator.of({**options, "cam_curve_interval": interval}, options.split, image_ids)
    wanted = [name for name in ("boxes", "per_class", "per_image", "analysis") if options[name]]
    if wanted and evaluator.boxes is None:
        raise InputError(f"--{wanted[0]}: {options.dataset_name} {options.split} has no true boxes, which it needs")
    if options.boxes:
        evaluator.masks = None
        evaluator.box_rule = DETECTIONS
    return evaluator


def open_source(what: str, options: Munch, evaluator: SplitEvaluator) -> tuple[Source, set[str], dict]:
    """Return (what is to be scored, the images it has something for, counts of what it lacks or has beyond them)."""
    if what == CENTER:
        return Center(options.center_size), set(evaluator.image_ids), {}
    if options.boxes:
        names = read_coco_names(options.coco_images) if options.coco_images else None
        boxes, unknown = read_detections(what, evaluator.boxes.image_sizes, names)
        if unknown:
            warn(f"{what}: boxes of {len(unknown)} images that are not in the split, left out:" + first_names(unknown))
        without = [image_id for image_id in evaluator.image_ids if image_id not in boxes]
        if len(without) == len(evaluator.image_ids):
            raise InputError(f"{what}: no box for any of the {len(without)} images of {options.split}")
        if without:
            warn(f"{what}: {len(without)} of {len(evaluator.image_ids)} images have no box and count as wrong")
        counts = {"images_without_box": len(without), "unknown_images": len(unknown)}
        return Detections(boxes), set(evaluator.image_ids), counts
    files = find_score_maps(what, evaluator.image_ids)
    of_splits, unknown = sort_others(
        files.others, read_known_ids(options.metadata_root, options.dataset_name, {*SPLITS, options.split})
    )
    if unknown:
        warn(f"{what}: {len(unknown)} maps are of no image of {options.dataset_name}, left out:" + first_names(unknown))
    if files.missing and (options.on_missing == "stop" or not files.paths):
        elsewhere = [f"{count} maps of {split} images" for split, count in of_splits.items() if split != options.split]
        if elsewhere and not files.paths:
            raise InputError(
                f"{what}: no map of an image of {options.split}, but {', '.join(elsewhere)}; expected their --split"
            )
        files.require_all()
    if files.missing:
        total = len(evaluator.image_ids)
        warn(
            f"{what}: {len(files.missing)} of {total} score maps are missing; only {len(files.paths)} images "
            f"({100 * len(files.paths) / total:.1f} %) are scored:" + first_names(files.missing)
        )
    counts = {"missing_maps": len(files.missing), "unknown_maps": len(unknown)}
    return SavedMaps(files, options.workers), set(files.paths), counts


def describe(options: Munch, evaluator: SplitEvaluator, source: Source, results: dict, thresholds: Mapping | None) -> dict:
    """Look at each map once more, at known thresholds: write the per-image table, return the analysis if asked for."""
    if isinstance(source, Detections):
        write_table(options.per_image, source.rows(evaluator))
        return {}
    own = results["best_threshold"][str(LOC_IOU)]
    if options.per_image and thresholds is None and options.split != "val":
        warn(
            f"--per_image: the boxes are at the score-map threshold that {options.split} itself chose, {own:.3f}; "
            "--thresholds_from a file of val's gives what one could deploy"
        )
    describe_one = Describe(evaluator.boxes, thresholds[str(LOC_IOU)] if thresholds else own, own)
    details = list(source.details(evaluator, describe_one))
    if options.per_image:
        write_table(options.per_image, [describe_one.row(one) for one in details])
    return {"analysis": summarize(details, own)} if options.analysis else {}


def format_analysis(analysis: Mapping) -> str:
    """Return the analysis of appendix 0.F.1 as lines for a person."""
    titles = {
        "area_ratio": "predicted / true box area",
        "activation_ratio": "activation inside / outside the true box",
        "num_components": "connected components",
    }
    lines = [
        f"at score-map threshold {analysis['score_map_threshold']:.3f}, the best for IoU {LOC_IOU}, largest contour's box:"
    ]
    for name, title in titles.items():
        mean, median = (analysis[name][kind] for kind in ("mean", "median"))
        lines.append(f"  {title}  none" if mean is None else f"  {title}  mean {mean:.3f}, median {median:.3f}")
    lines.append(f"  images without activation outside, left out above  {analysis['images_without_activation_outside']}")
    return "\n".join(lines)


def format_comparison(what: str, other: str, comparison: Mapping) -> str:
    """Return a comparison as lines for a person."""
    lines = [f"{what} less {other}, on the same images:"]
    for name, test in comparison.items():
        low, high = test["interval"]
        lines.append(f"  {name}  {test['difference']:+.2f}  [{low:.2f}, {high:.2f}]  p {test['p_value']:.3g}")
    return "\n".join(lines)


@command
def main() -> None:
    """Score saved maps, the Center baseline or a detector's boxes."""
    options = parse_options(evaluation_parser(__doc__))
    check_evaluation_options(options)
    for name in ("curve", "per_class", "per_image"):
        check_table_path(name, options[name])
    evaluator = make_evaluator(options)
    thresholds = None
    if options.thresholds_from:
        thresholds = read_val_thresholds(options.thresholds_from, options.dataset_name, evaluator.box_rule)
    what = CENTER if options.center else options.boxes or options.scoremap_root
    source, found, counts = open_source(what, options, evaluator)
    other = None
    if options.compare:
        other = make_evaluator(options)
        other_source, other_found, _ = open_source(options.compare, options, other)
        found &= other_found
        if not found:
            raise InputError(f"--compare {options.compare}: no image that both have a map of")
    evaluator.image_ids = [image_id for image_id in evaluator.image_ids if image_id in found]
    if options.class_ranks:
        ranks = read_class_ranks(options.class_ranks)
        if missing := [image_id for image_id in evaluator.image_ids if image_id not in ranks]:
            raise InputError(f"{options.class_ranks}: no rank of {len(missing)} images:" + first_names(missing))
        evaluator.ranks = {image_id: ranks[image_id] for image_id in evaluator.image_ids}
    evaluator.resample(("bootstrap", "swap") if other else ("bootstrap",), options.bootstrap, options.seed)
    source.score(evaluator)
    results = {"dataset_name": options.dataset_name, "split": options.split, "scored": str(what)}
    evaluator.counts = counts
    results |= evaluator.results(thresholds)
    results["intervals"] = intervals(evaluator, results)
    title = "the Center baseline" if options.center else what
    print(f"{options.dataset_name} {options.split}, {results['counts']['images']} images, {title}")
    print(format_results(results, options.multi_iou_eval))
    if other:
        other.image_ids = list(evaluator.image_ids)
        other.resample(("bootstrap", "swap"), options.bootstrap, options.seed)
        other_source.score(other)
        results["compare"] = {"other": options.compare, **compare(evaluator, other)}
        print(format_comparison(title, options.compare, {k: v for k, v in results["compare"].items() if k != "other"}))
    if options.analysis or options.per_image:
        results |= describe(options, evaluator, source, results, thresholds)
        if options.analysis:
            print(format_analysis(results["analysis"]))
    if options.curve:
        write_table(options.curve, curve_rows(evaluator))
    if options.per_class:
        folder = Path(options.metadata_root) / options.dataset_name
        write_table(options.per_class, class_rows(evaluator, folder, thresholds))
    if options.json:
        write_json(options.json, results)
    if written := [options[name] for name in ("per_image", "per_class", "curve", "json") if options[name]]:
        print(f"written: {', '.join(written)}")


if __name__ == "__main__":
    main()
