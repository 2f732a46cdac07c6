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
from dataset.known import require_dataset
from wsol.boxes import calculate_multiple_iou, compute_bboxes_from_scoremaps, resize_bbox
from wsol.confidence import Resampled, compare, intervals
from wsol.detections import read_coco_names, read_detections
from wsol.errors import InputError, command
from wsol.evaluators import BoxEvaluator, MaskEvaluator
from wsol.files import check_writable, write_json
from wsol.levels import SPLITS
from wsol.map_details import summarize
from wsol.masks import get_mask
from wsol.metadata import first_names, read_id_list
from wsol.score_maps import find_score_maps, sort_others
from wsol.scoring import Center, Describe, Detections, SavedMaps, Source
from wsol.split_evaluator import LOC_IOU, TOP, SplitEvaluator, headline, read_known_ids
from wsol.tables import check_table_path, class_rows, curve_rows, read_class_ranks, read_classes, write_table
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
OUTPUTS = ("per_image", "per_class", "curve", "json")


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


def _line(name: str, value: float, interval: Sequence[float] | None, note: str = "") -> str:
    sure = f"  [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    return f"{name}  {value:.2f}{sure}{note}"


def _box_lines(results: Mapping, found: Mapping, multi_iou_eval: bool, suffix: str, title: str) -> list[str]:
    """Return the lines of box accuracies, at the best score-map thresholds or (`suffix`) at those that val chose."""
    accuracies = results[f"MaxBoxAcc{suffix}"]
    rule = results["box_rule"].replace("_", " ")
    lines = []
    if multi_iou_eval:
        name = "mean_MaxBoxAcc" if results["MaxBoxAccV2"] is None else "MaxBoxAccV2"
        mean = sum(accuracies.values()) / len(accuracies)
        lines.append(_line(f"{name.replace('_', ' ')}{title}", mean, found.get(name + suffix)))
    thresholds = results["val_threshold" if suffix else "best_threshold"]
    for iou, accuracy in accuracies.items():
        if multi_iou_eval or iou == str(LOC_IOU):
            where = f"score-map threshold {thresholds[iou]:.3f}, {rule}" if thresholds else rule
            interval = (found.get(f"MaxBoxAcc{suffix}") or {}).get(iou)
            lines.append(_line(f"MaxBoxAcc at IoU {iou}{title}", accuracy, interval, f"  ({where})"))
    return lines


def format_results(results: Mapping, multi_iou_eval: bool) -> str:
    """Return a split's metrics as lines for a person: all IoU thresholds and their mean, or IoU 50 alone."""
    found = results.get("intervals") or {}
    titles = {"": "", "_at_val_threshold": " at val's threshold"}
    lines = []
    for suffix, title in titles.items():
        if results.get(f"MaxBoxAcc{suffix}"):
            lines += _box_lines(results, found, multi_iou_eval, suffix, title)
    names = {"PxAP": "PxAP"}
    if "top1_cls" in results:
        names |= {"gt_known_loc": "GT-known Loc", "top1_loc": "Top-1 Loc", "top5_loc": "Top-5 Loc"}
        names |= {f"top{k}_loc_at_val_threshold": f"Top-{k} Loc at val's threshold" for k in TOP}
        names |= {"top1_cls": "Top-1 Cls", "top5_cls": "Top-5 Cls"}
    lines += [_line(name, results[key], found.get(key)) for key, name in names.items() if results.get(key) is not None]
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


# The command, in its order of work: check the outputs, find what is to be scored, count it, look at each map, write.


def warn(message: str) -> None:
    """Say on standard error what a user should not overlook."""
    print(f"WARNING: {message}", file=sys.stderr)


def check_outputs(options: Munch) -> None:
    """Refuse outputs that could not be written, or that would overwrite each other."""
    outputs = {name: options[name] for name in OUTPUTS if options[name]}
    for name, path in outputs.items():
        check_writable(path)
        if name != "json":
            check_table_path(name, path)
        if same := [
            other for other in outputs if other != name and os.path.realpath(outputs[other]) == os.path.realpath(path)
        ]:
            raise InputError(f"--{name} {path}: expected another file than --{same[0]}'s")


def make_evaluator(options: Munch) -> SplitEvaluator:
    """Return the evaluator of the command's split."""
    require_dataset(options.metadata_root, options.dataset_name)
    image_ids = read_id_list(options.image_list) if options.image_list else None
    evaluator = SplitEvaluator.of(options, options.split, image_ids, detections=bool(options.boxes))
    wanted = [name for name in ("per_class", "per_image", "analysis") if options[name]]
    if wanted and evaluator.boxes is None:
        raise InputError(f"--{wanted[0]}: {options.dataset_name} {options.split} has no true boxes, which it needs")
    return evaluator


def open_maps(root: str, options: Munch, evaluator: SplitEvaluator) -> SavedMaps:
    """Return a folder's maps, told or refused what is missing; the evaluator is left with the images that have one."""
    files = find_score_maps(root, evaluator.image_ids, evaluator.split_ids)
    splits = {*SPLITS, options.split}
    of_splits, unknown = sort_others(files.others, read_known_ids(options.metadata_root, options.dataset_name, splits))
    if unknown:
        warn(f"{root}: {len(unknown)} maps are of no image of {options.dataset_name}, left out:" + first_names(unknown))
    elsewhere = [f"{count} maps of {split} images" for split, count in of_splits.items() if split != options.split]
    if elsewhere and not files.paths:
        raise InputError(
            f"{root}: no map of an image of {options.split}, but {', '.join(elsewhere)}; expected their --split"
        )
    if options.on_missing == "stop" or not files.paths:
        files.require_all()
    if files.missing:
        total = len(evaluator.image_ids)
        warn(
            f"{root}: {len(files.missing)} of {total} score maps are missing; only {len(files.paths)} images "
            f"({100 * len(files.paths) / total:.1f} %) are scored:" + first_names(files.missing)
        )
    evaluator.image_ids = list(files.paths)
    evaluator.counts |= {"missing_maps": len(files.missing), "unknown_maps": len(unknown)}
    return SavedMaps(files, options.workers)


def open_detections(path: str, options: Munch, evaluator: SplitEvaluator) -> Detections:
    """Return a file's boxes, told or refused what is missing."""
    names = read_coco_names(options.coco_images) if options.coco_images else None
    boxes, unknown = read_detections(path, {i: evaluator.boxes.image_sizes[i] for i in evaluator.image_ids}, names)
    if unknown:
        warn(f"{path}: boxes of {len(unknown)} images that are not scored, left out:" + first_names(unknown))
    without = [image_id for image_id in evaluator.image_ids if image_id not in boxes]
    if not boxes:
        raise InputError(f"{path}: no box for any of the {len(without)} images of {options.split}")
    if without:
        warn(f"{path}: {len(without)} of {len(evaluator.image_ids)} images have no box and count as wrong")
    evaluator.counts |= {"images_without_box": len(without), "unknown_images": len(unknown)}
    return Detections(boxes)


def open_source(options: Munch, evaluator: SplitEvaluator, compared: bool = False) -> Source:
    """Return what is to be scored, or what it is to be compared with."""
    if options.compare == CENTER if compared else options.center:
        return Center(options.center_size)
    if options.boxes:
        return open_detections(options.compare if compared else options.boxes, options, evaluator)
    return open_maps(options.compare if compared else options.scoremap_root, options, evaluator)


def read_ranks(options: Munch, evaluator: SplitEvaluator) -> dict[str, int]:
    """Return the class ranks of the images to be scored; empty without --class_ranks."""
    if not options.class_ranks:
        return {}
    ranks = read_class_ranks(options.class_ranks)
    if missing := [image_id for image_id in evaluator.image_ids if image_id not in ranks]:
        raise InputError(f"{options.class_ranks}: no rank of {len(missing)} images:" + first_names(missing))
    return {image_id: ranks[image_id] for image_id in evaluator.image_ids}


def describe(
    options: Munch, evaluator: SplitEvaluator, source: Source, own: float, thresholds: Mapping | None
) -> tuple[list[dict], dict]:
    """Look at each map once more, at known thresholds: return the rows of the per-image table, and the analysis.

    `own`: the score-map threshold that the scored split chose for IoU 50.
    """
    if options.per_image and thresholds is None and options.split != "val":
        warn(
            f"--per_image: the boxes are at the score-map threshold that {options.split} itself chose, {own:.3f}; "
            "--thresholds_from a file of val's gives what one could deploy"
        )
    describe_one = Describe(evaluator.boxes, thresholds[str(LOC_IOU)] if thresholds else own, own)
    details = list(source.details(evaluator, describe_one))
    return [describe_one.row(one) for one in details], summarize(details, own)


def format_analysis(analysis: Mapping) -> str:
    """Return the analysis of appendix 0.F.1 as lines for a person."""
    titles = {
        "area_ratio": "predicted / true box area",
        "activation_ratio": "activation inside / outside the true box",
        "num_components": "connected components",
    }
    threshold = f"score-map threshold {analysis['score_map_threshold']:.3f}"
    lines = [f"at {threshold}, the best for IoU {LOC_IOU}, with the largest contour's box:"]
    for name, title in titles.items():
        mean, median = (analysis[name][kind] for kind in ("mean", "median"))
        lines.append(f"  {title}  none" if mean is None else f"  {title}  mean {mean:.3f}, median {median:.3f}")
    lines.append(f"  images without activation outside, left out above  {analysis['images_without_activation_outside']}")
    return "\n".join(lines)


def format_comparison(what: str, other: str, comparison: Mapping) -> str:
    """Return a comparison as lines for a person."""
    lines = [f"{what} less {other}, on the same images:"]
    for name, test in comparison.items():
        sure = "[{:.2f}, {:.2f}]".format(*test["interval"]) if test["interval"] else "[none]"
        lines.append(f"  {name}  {test['difference']:+.2f}  {sure}  p {test['p_value']:.3g}")
    return "\n".join(lines)


def write_outputs(options: Munch, tables: Mapping[str, list[dict]], results: dict) -> None:
    """Write every table asked for, then the results."""
    for name, rows in tables.items():
        write_table(options[name], rows)
    if options.json:
        write_json(options.json, results)
    if written := [options[name] for name in OUTPUTS if options[name]]:
        print(f"written: {', '.join(written)}")


@command
def main() -> None:
    """Score saved maps, the Center baseline or a detector's boxes."""
    options = parse_options(evaluation_parser(__doc__))
    check_evaluation_options(options)
    check_outputs(options)

    evaluator = make_evaluator(options)
    classes = read_classes(Path(options.metadata_root) / options.dataset_name, options.split) if options.per_class else []
    thresholds = None
    if options.thresholds_from:
        thresholds = read_val_thresholds(options.thresholds_from, options.dataset_name, evaluator)
    source = open_source(options, evaluator)
    evaluators, sources = [evaluator], [source]
    if options.compare:
        evaluators.append(make_evaluator(options))
        sources.append(open_source(options, evaluators[1], compared=True))
        both = set(evaluators[1].image_ids) & set(evaluator.image_ids)
        if not both:
            raise InputError(f"--compare {options.compare}: no image that both have a map of")
        for one in evaluators:
            one.image_ids = [image_id for image_id in one.image_ids if image_id in both]
    evaluator.ranks = read_ranks(options, evaluator)

    kinds = ("bootstrap", "swap") if options.compare else ("bootstrap",)
    for one, its_source in zip(evaluators, sources, strict=True):
        one.resample(kinds, options.bootstrap, options.seed)
        its_source.score(one)
    title = "the Center baseline" if options.center else options.boxes or options.scoremap_root
    results = {"dataset_name": options.dataset_name, "split": options.split, "scored": title}
    results |= evaluator.results(thresholds)
    resampled = [Resampled(one) for one in evaluators]
    results["intervals"] = intervals(resampled[0], results)
    print(f"{options.dataset_name} {options.split}, {results['counts']['images']} images, {title}")
    print(format_results(results, options.multi_iou_eval))
    if options.compare:
        comparison = compare(*resampled)
        results["compare"] = {"other": options.compare, **comparison}
        print(format_comparison(title, options.compare, comparison))

    tables = {"curve": curve_rows(evaluator)} if options.curve else {}
    if options.per_class:
        tables["per_class"] = class_rows(evaluator, classes, thresholds)
    if options.per_image and isinstance(source, Detections):
        tables["per_image"] = source.rows(evaluator)
    elif options.per_image or options.analysis:
        rows, analysis = describe(options, evaluator, source, results["best_threshold"][str(LOC_IOU)], thresholds)
        tables |= {"per_image": rows} if options.per_image else {}
        if options.analysis:
            results["analysis"] = analysis
            print(format_analysis(analysis))
    write_outputs(options, tables, results)


if __name__ == "__main__":
    main()
