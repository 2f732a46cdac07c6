r"""Score maps to MaxBoxAcc, MaxBoxAccV2 and PxAP; also the command that scores saved maps:

    python evaluation.py --scoremap_root train_log/my_run/scoremaps --dataset_name OxfordPet --split val \
        --multi_contour_eval --multi_iou_eval
    python evaluation.py --center --dataset_name CUB --split test --multi_contour_eval --multi_iou_eval
    python evaluation.py --boxes detections.json --dataset_name CUB --split test --multi_iou_eval
    python evaluation.py --images_from train_log/a/test_images.npz --compare train_log/b/test_images.npz \
        --dataset_name CUB --split test --multi_contour_eval --multi_iou_eval

In: score maps, float in [0, 1], or a detector's boxes, and a split's metadata. Out: percentages, the counts they come from,
and how sure they are. The exact semantics are those of wsolevaluation (Choe et al., CVPR 2020; docs/evaluation.md).
"""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from munch import Munch

from config import check_evaluation_options, check_metric_options, evaluation_parser, parse_options
from dataset.known import how_to_prepare, require_dataset
from option_tables import SCORING_INTERVAL
from wsol.core.declared_size import MAX_MEGAPIXELS
from wsol.core.errors import InputError, MetadataError, command
from wsol.core.files import check_writable, missing_files, refuse_inside, refuse_overwriting, write_json
from wsol.data.coco import read_coco_names
from wsol.data.levels import SPLITS
from wsol.data.masks import VIEW, get_mask
from wsol.data.metadata import first_names, read_id_list
from wsol.data.truth import PSEUDO, SplitTruth
from wsol.maps.map_index import find_maps
from wsol.maps.refine import refiner_of_split
from wsol.maps.refine_saved import RefineSaved
from wsol.maps.score_maps import sort_others
from wsol.metrics.bootstrap import Resampled, compare, intervals
from wsol.metrics.boxes import calculate_multiple_iou, compute_bboxes_from_scoremaps, resize_bbox
from wsol.metrics.detections import read_detections
from wsol.metrics.evaluators import BoxEvaluator, MaskEvaluator
from wsol.metrics.images_file import read_images, read_interval
from wsol.metrics.map_details import summarize
from wsol.metrics.map_sizes import check_same_sizes, mixture_warning, size_rows, small_map_note
from wsol.metrics.scoring import Center, Describe, Detections, Measure, SavedImages, SavedMaps, Source, count
from wsol.metrics.split_evaluator import LOC_IOU, SplitEvaluator, headline, read_known_ids
from wsol.runs.figure_text import format_analysis, format_comparison, format_results
from wsol.runs.results import read_results
from wsol.runs.run_tables import check_table_path, class_rows, curve_rows, read_class_ranks, read_classes, write_table
from wsol.runs.val_thresholds import ValThresholds, read_val_thresholds

__all__ = [
    "BoxEvaluator",
    "MaskEvaluator",
    "calculate_multiple_iou",
    "compute_bboxes_from_scoremaps",
    "evaluate_wsol",
    "get_mask",
    "resize_bbox",
]

CENTER = "center"  # what --compare takes in addition to a folder or file
IMAGES = ".npz"  # what a file of images ends in, for --compare
OUTPUTS = ("per_image", "per_class", "curve", "json")
INPUTS = ("image_list", "thresholds_from", "class_ranks", "boxes", "coco_images", "proposals", "compare", "images_from")


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
    truth = SplitTruth.read(metadata_root, mask_root, dataset_name, split)
    evaluator = SplitEvaluator(truth, cam_curve_interval, iou_threshold_list, multi_contour_eval)
    files = find_maps(scoremap_root, evaluator.image_ids)
    files.require_all()
    count(SavedMaps(files), evaluator)
    figure = headline(evaluator.results(), multi_iou_eval)
    if figure is None:
        raise MetadataError(f"{dataset_name} {split}: neither boxes nor masks; expected either")
    return figure


def rescoring_command(config: Mapping, scoremap_root: str | os.PathLike, split: str, files: Mapping[str, object]) -> str:
    """Return the command line that scores a run's saved maps with the run's own options; `files` are options too."""
    copied = ("metadata_root", "mask_root", "dataset_name", "cam_curve_interval", "multi_contour_eval", "multi_iou_eval")
    copied += ("bootstrap", "seed", *(("max_megapixels",) if config["max_megapixels"] != MAX_MEGAPIXELS else ()))
    pseudo = {"select_on": PSEUDO} if split == "val" and config["select_on"] == PSEUDO else {}
    options = {"scoremap_root": scoremap_root, "split": split, **pseudo, **{name: config[name] for name in copied}, **files}
    words = ["python", "evaluation.py"]
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    return shlex.join([*words, "--iou_threshold_list", *map(str, config["iou_threshold_list"])])


# The command, in order: check the outputs, open what is scored, count it, describe each map, write, print.


def warn(message: str) -> None:
    """Print a warning on standard error."""
    with suppress(OSError, ValueError):  # standard error is full or closed: the results still count
        print(f"WARNING: {message}", file=sys.stderr)


def is_images(name: str | None) -> bool:
    """Return whether an argument of --compare names a run's `<split>_images.npz`."""
    return name is not None and name.endswith(IMAGES) and not os.path.isdir(name)


def settle(options: Munch) -> ValThresholds | None:
    """Fill in the options whose default depends on others; return what --thresholds_from holds."""
    chosen = read_val_thresholds(options.thresholds_from) if options.thresholds_from else None
    images = options.images_from or (options.compare if is_images(options.compare) else None)
    if options.cam_curve_interval is None:
        interval = read_interval(images) if images else None
        options.cam_curve_interval = (chosen and chosen.interval) or interval or SCORING_INTERVAL
    options.center_follows = options.center_size is None
    if options.center_follows:
        options.center_size = VIEW[0]
    return chosen


def check_outputs(options: Munch) -> None:
    """Check that every output can be written and that no two are the same file."""
    outputs = outputs_of(options)
    for name, path in outputs.items():
        if path == "-" or path.endswith(os.sep) or (os.path.exists(path) and not os.path.isfile(path)):
            raise InputError(f"--{name} {path}: a folder, device or pipe; expected a file")
        check_writable(path)
        if name != "json":
            check_table_path(name, path)
        if same := [
            other for other in outputs if other != name and os.path.realpath(outputs[other]) == os.path.realpath(path)
        ]:
            raise InputError(f"--{name} {path}: expected a different file from --{same[0]}'s")


def check_replaced(options: Munch) -> None:
    """Check that no output is inside the data, and that --json replaces nothing but earlier results of this command."""
    folders = [Path(root) / options.dataset_name for root in (options.metadata_root, options.mask_root)]
    refuse_inside(outputs_of(options), folders)
    if options.json and os.path.exists(options.json) and os.path.getsize(options.json):
        with suppress(InputError):
            if read_results(options.json).is_evaluation:
                return
        raise InputError(f"--json {options.json}: exists and was not written by evaluation.py; expected a different file")


def outputs_of(options: Munch) -> dict[str, str]:
    """Return the files to be written, by option."""
    return {name: options[name] for name in OUTPUTS if options[name]}


def input_files(options: Munch, truth: SplitTruth, sources: Sequence[Source]) -> Iterator[Path | str]:
    """Yield every file that is read, and the maps of other splits in the same folders."""
    yield from (options[name] for name in INPUTS if options[name])
    metadata = Path(options.metadata_root) / options.dataset_name
    yield from (*metadata.glob("*"), *metadata.glob("*/*"))
    if masks := truth.masks:
        yield from (masks.root / name for name in masks.files(list(masks.paths)))
    for source in sources:
        if isinstance(source, SavedMaps):
            yield from source.files.paths.values()
            yield from (source.files.root / name for name in source.files.others)


def read_truth(options: Munch) -> SplitTruth:
    """Return the truth of the command's split, or of the images of --image_list."""
    require_dataset(options.metadata_root, options.dataset_name)
    image_ids = None
    if options.image_list:
        known = read_known_ids(options.metadata_root, options.dataset_name, [options.split])
        what = f"{options.dataset_name} {options.split}"
        image_ids = read_id_list(options.image_list, known.get(options.split), what)
    truth = SplitTruth.of(options, options.split, image_ids, with_masks=not options.boxes)
    wanted = [name for name in ("per_class", "per_image", "analysis", "metrics") if options[name]]
    if wanted and truth.boxes is None:
        raise InputError(f"--{wanted[0]}: {options.dataset_name} {options.split} has no true boxes, which it needs")
    return truth


def refining(options: Munch, evaluator: SplitEvaluator) -> RefineSaved | None:
    """Return what refines the maps of --refine, from the images that are to be scored; None without that option.

    Raises:
        InputError: images are missing, or a file of proposals has none of them.
    """
    if not options.refine:
        return None
    image_root, image_ids = Path(options.data_root) / options.dataset_name, evaluator.image_ids
    if missing := missing_files(image_root, image_ids):
        raise InputError(
            f"{image_root}: {len(missing)} of {len(image_ids)} images of {options.split} are missing, which --refine looks "
            f"at{how_to_prepare(options.dataset_name)}; or give another --data_root:{first_names(missing)}"
        )
    folder = Path(options.metadata_root) / options.dataset_name / options.split
    refiner = refiner_of_split(options.refine, options.proposals, folder, image_ids, options.coco_images)
    return RefineSaved(image_root, refiner, options.max_megapixels)


def open_maps(root: str, options: Munch, evaluator: SplitEvaluator, compared: bool = False) -> SavedMaps:
    """Return a folder's maps; warn or raise InputError if some are missing. The evaluator keeps the images that have one.

    They are refined, with --refine, unless they are what others are compared with.
    """
    files = find_maps(root, evaluator.image_ids, evaluator.truth.split_ids)
    splits = {*SPLITS, options.split}
    of_splits, unknown = sort_others(files.others, read_known_ids(options.metadata_root, options.dataset_name, splits))
    elsewhere = [f"{count} maps of {split} images" for split, count in of_splits.items() if split != options.split]
    if elsewhere and not files.paths:
        raise InputError(
            f"{root}: no map of an image of {options.split}, but {', '.join(elsewhere)}; expected their --split"
        )
    if options.on_missing == "stop" or not files.paths:
        files.require_all()
    if unknown:
        warn(f"{root}: {len(unknown)} maps are of no image of {options.dataset_name}, left out:" + first_names(unknown))
    leave_out(root, "score maps", files.missing, evaluator)
    evaluator.counts["unknown_maps"] = len(unknown)
    refine = None if compared else refining(options, evaluator)
    return SavedMaps(files, options.workers, options.map_size, options.max_megapixels, refine)


def leave_out(name: str, what: str, missing: Sequence[str], evaluator: SplitEvaluator) -> None:
    """Drop the images that a folder or file lacks from an evaluator, with a warning."""
    left_out = set(missing)
    found = [image_id for image_id in evaluator.image_ids if image_id not in left_out]
    if missing:
        total = len(evaluator.image_ids)
        warn(
            f"{name}: {len(missing)} of {total} {what} are missing; only {len(found)} images "
            f"({100 * len(found) / total:.1f} %) are scored:" + first_names(missing)
        )
    evaluator.image_ids = found
    evaluator.counts["missing_maps"] = len(missing)


def open_images(path: str, options: Munch, evaluator: SplitEvaluator) -> SavedImages:
    """Return what a run kept of its images; warn or raise InputError if some are missing."""
    file = read_images(path)
    file.check(evaluator)
    scored = {image_id for image_id, one in file.images.items() if not one.skipped}
    missing = [image_id for image_id in evaluator.image_ids if image_id not in scored]
    if missing and (options.on_missing == "stop" or len(missing) == len(evaluator.image_ids)):
        raise InputError(
            f"{path}: lacks {len(missing)} of {len(evaluator.image_ids)} images; expected all of them (--image_list scores "
            f"some), or --on_missing skip:{first_names(missing)}"
        )
    leave_out(path, "images", missing, evaluator)
    evaluator.counts["unknown_maps"] = 0
    return SavedImages(file)


def open_detections(path: str, options: Munch, evaluator: SplitEvaluator) -> Detections:
    """Return a file's boxes; warn of images without one, and raise InputError if no image has one."""
    names = read_coco_names(options.coco_images) if options.coco_images else None
    sizes = evaluator.require_boxes().image_sizes
    boxes, unknown = read_detections(path, {i: sizes[i] for i in evaluator.image_ids}, names)
    if unknown:
        warn(f"{path}: boxes of {len(unknown)} images that are not scored, left out:" + first_names(unknown))
    without = [image_id for image_id in evaluator.image_ids if image_id not in boxes]
    if not boxes:
        raise InputError(f"{path}: no box for any of the {len(without)} images of {options.split}")
    if without:
        warn(f"{path}: {len(without)} of {len(evaluator.image_ids)} images have no box and count as wrong")
    evaluator.counts |= {"images_without_box": len(without), "unknown_images": len(unknown)}
    return Detections(boxes, options.map_size)


def open_source(options: Munch, evaluator: SplitEvaluator, compared: bool = False) -> Source:
    """Return what is scored, or (`compared`) what it is compared with."""
    if options.compare == CENTER if compared else options.center:
        return Center(options.center_size)
    if options.boxes:
        return open_detections(options.compare if compared else options.boxes, options, evaluator)
    if is_images(options.compare) if compared else options.images_from:
        return open_images(options.compare if compared else options.images_from, options, evaluator)
    return open_maps(options.compare if compared else options.scoremap_root, options, evaluator, compared)


def open_all(options: Munch, truth: SplitTruth) -> tuple[list[SplitEvaluator], list[Source]]:
    """Return (evaluators, sources): of what is scored and, with --compare, of the other. Both keep the images they share."""
    evaluators = [SplitEvaluator.of(options, truth, detections=bool(options.boxes))]
    sources = [open_source(options, evaluators[0])]
    if not options.compare:
        return evaluators, sources
    evaluators.append(SplitEvaluator.of(options, truth, detections=bool(options.boxes)))
    sources.append(open_source(options, evaluators[1], compared=True))
    both = set(evaluators[1].image_ids) & set(evaluators[0].image_ids)
    if not both:
        raise InputError(f"--compare {options.compare}: no image that both have a map of")
    for one in evaluators:
        one.image_ids = [image_id for image_id in one.image_ids if image_id in both]
    return evaluators, sources


def match_sizes(options: Munch, evaluators: Sequence[SplitEvaluator], sources: Sequence[Source]) -> None:
    """Give Center the size of the maps that it is compared with; otherwise check on the first image, before anything is
    scored, that both sizes agree."""
    with_maps = [source for source in sources if not isinstance(source, Detections)]
    if len(with_maps) < 2:
        return
    centers = [source for source in with_maps if isinstance(source, Center)]
    if len(centers) == 1 and options.center_follows:
        other = evaluators[1 if sources[0] is centers[0] else 0]
        centers[0].sizes = other.map_sizes  # filled when the maps are scored, which is first
        return
    first = evaluators[0].image_ids[0]
    check_same_sizes(*({first: source.size_of(first)} for source in with_maps))


def score_all(evaluators: Sequence[SplitEvaluator], sources: Sequence[Source], ranks: Mapping[str, int]) -> None:
    """Count every image. Center comes last because it may take the maps' sizes; `ranks` belong to what is scored."""
    for one, source in sorted(zip(evaluators, sources, strict=True), key=lambda pair: isinstance(pair[1], Center)):
        count(source, one, ranks if one is evaluators[0] else None)


def read_ranks(options: Munch, evaluator: SplitEvaluator) -> dict[str, int]:
    """Return the class ranks of the images to be scored; empty without --class_ranks."""
    if not options.class_ranks:
        return {}
    ranks = read_class_ranks(options.class_ranks)
    if missing := [image_id for image_id in evaluator.image_ids if image_id not in ranks]:
        raise InputError(f"{options.class_ranks}: no rank of {len(missing)} images:" + first_names(missing))
    return {image_id: ranks[image_id] for image_id in evaluator.image_ids}


def describe(
    options: Munch, evaluator: SplitEvaluator, source: SavedMaps | Center, own: float, thresholds: Mapping | None
) -> tuple[list[dict], dict]:
    """Return (rows of the per-image table, analysis), from a second pass over the maps at known thresholds.

    `own`: the score-map threshold that the scored split chose for IoU 50.
    """
    if options.per_image and thresholds is None and options.split != "val":
        warn(
            f"--per_image: the boxes are at the score-map threshold that {options.split} itself chose, {own:.3f}; "
            "--thresholds_from a file of val's gives what one could deploy"
        )
    describe_one = Describe(evaluator.require_boxes(), thresholds[str(LOC_IOU)] if thresholds else own, own)
    details = list(source.each(describe_one, evaluator.scored_ids))
    return [describe_one.row(one) for one in details], summarize(details, own)


def measure(options: Munch, evaluator: SplitEvaluator, source: SavedMaps | Center) -> dict[str, float]:
    """Return the mean over images, in percent, of every metric of --metrics, from another pass over the maps."""
    values = np.array(list(source.each(Measure(evaluator.require_boxes(), tuple(options.metrics)), evaluator.scored_ids)))
    return dict(zip(options.metrics, (100 * values.mean(axis=0)).tolist(), strict=True))


def warn_of_mixtures(evaluators: Sequence[SplitEvaluator], sources: Sequence[Source]) -> list[str]:
    """Warn of folders with maps of several sizes; return the warnings."""
    warnings = []
    for one, source in zip(evaluators, sources, strict=True):
        if isinstance(source, SavedMaps | SavedImages) and (mixture := mixture_warning(one.map_sizes.values())):
            warnings.append(f"{source.name}: {mixture}")
            warn(warnings[-1])
    return warnings


def write_outputs(options: Munch, tables: Mapping[str, list[dict]], results: dict) -> None:
    """Write every table asked for, then the results."""
    for name, rows in tables.items():
        write_table(options[name], rows)
    if options.json:
        write_json(options.json, results)


@command
def main() -> None:
    """Score saved maps, the Center baseline or a detector's boxes."""
    options = parse_options(evaluation_parser(__doc__))
    chosen = settle(options)
    check_evaluation_options(options)
    check_outputs(options)

    truth = read_truth(options)
    evaluators, sources = open_all(options, truth)
    evaluator, source = evaluators[0], sources[0]
    classes = read_classes(Path(options.metadata_root) / options.dataset_name, options.split) if options.per_class else []
    thresholds = chosen.fit(options.dataset_name, evaluator) if chosen else None
    ranks = read_ranks(options, evaluator)
    refuse_overwriting(outputs_of(options), input_files(options, truth, sources))
    check_replaced(options)
    match_sizes(options, evaluators, sources)

    score_all(evaluators, sources, ranks)
    title = "the Center baseline" if options.center else options.boxes or options.images_from or options.scoremap_root
    title += f", refined by {options.refine}" if options.refine else ""
    warnings = warn_of_mixtures(evaluators, sources)
    small = small_map_note(options.dataset_name, evaluator.map_sizes.values())
    results = {"dataset_name": options.dataset_name, "split": options.split, "scored": title}
    if not options.boxes:
        results |= {"cam_curve_interval": options.cam_curve_interval, "map_sizes": size_rows(evaluator.map_sizes.values())}
    results |= {"notes": [*warnings, small] if small else warnings} | evaluator.results(thresholds)
    resampled = [Resampled(one, options.bootstrap, options.seed) for one in evaluators]
    results["intervals"] = intervals(resampled[0], results)
    said = [f"{options.dataset_name} {options.split}, {results['counts']['images']} images, {title}"]
    said.append(format_results(results, options.multi_iou_eval))
    said += [f"note: {small}"] if small else []
    if chosen:
        said.append(f"score-map thresholds every {options.cam_curve_interval:g}, val's from {options.thresholds_from}")
    if options.compare:
        comparison = compare(*resampled)
        results["compare"] = {"other": options.compare, **comparison}
        said.append(format_comparison(title, options.compare, comparison))

    tables = {"curve": curve_rows(evaluator)} if options.curve else {}
    if options.per_class:
        tables["per_class"] = class_rows(evaluator, classes, thresholds)
    if options.per_image and isinstance(source, Detections):
        tables["per_image"] = source.rows(evaluator)
    elif isinstance(source, SavedMaps | Center) and (options.per_image or options.analysis):
        rows, analysis = describe(options, evaluator, source, results["best_threshold"][str(LOC_IOU)], thresholds)
        tables |= {"per_image": rows} if options.per_image else {}
        if options.analysis:
            results["analysis"] = analysis
            said.append(format_analysis(analysis))
    if options.metrics and isinstance(source, SavedMaps | Center):
        results["metrics"] = measure(options, evaluator, source)
        said += [f"{name}  {value:.2f}" for name, value in results["metrics"].items()]
    write_outputs(options, tables, results)
    if written := list(outputs_of(options).values()):
        said.append(f"written: {', '.join(written)}")
    print("\n".join(said))  # last, so that a closed or full standard output costs no file


if __name__ == "__main__":
    main()
