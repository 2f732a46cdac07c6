"""A trained model at work, without training: boxes for new photos, or the score maps of a split.

    python inference.py --checkpoint train_log/my_run/last_checkpoint.pth.tar --images photos/ --output boxes
    python inference.py --checkpoint train_log/my_run/best_checkpoint.pth.tar --split val --scoremap_root my_maps
    python inference.py --describe train_log/my_run/last_checkpoint.pth.tar
    python inference.py --checkpoint train_log/my_run/last_checkpoint.pth.tar --export onnx --output my_model.onnx

In: a run's checkpoint; photos, or a split's images. Out: boxes.csv and detections.json (COCO), see docs/boxes.md; or score
maps in [0, 1] of the input size, as `<scoremap_root>/<image_id>.npy`, and the rank of each image's true class.
"""

import shlex
import sys
from functools import partial
from pathlib import Path

# Before torch, whose threads it tells to sleep while they wait.
from wsol.core.machine import keep_freed_memory, resolve_threads, use_threads

# isort: split
from config import check_cache, check_saved_config, get_inference_options
from wsol.core.errors import InputError, command, refuse_early

if __name__ == "__main__":  # before the seconds in which torch is loaded
    refuse_early(partial(get_inference_options, description=__doc__))

import hashlib
import time
from dataclasses import replace

import numpy as np
import torch
from munch import Munch

from data_loaders import make_loader, require_images
from dataset.known import how_to_prepare, require_dataset
from dataset.photos import Report, read_labels
from dataset.tables import TableOptions, parse_columns
from wsol.core.files import check_folder, check_writable, file_hash
from wsol.core.options import AUTO
from wsol.core.processes import map_beside
from wsol.core.progress import progress
from wsol.core.version import version
from wsol.data.levels import SPLITS, LevelSplit
from wsol.data.loading import loading_failures
from wsol.data.metadata import first_names, read_id_list
from wsol.maps.class_maps import UNKNOWN
from wsol.maps.prediction import Prediction
from wsol.maps.refine import make_refiner, refiner_of_split
from wsol.maps.score_maps import being_written, holds_score_maps, save_score_map, unfinished_by
from wsol.networks.device import resolve_device, use_tf32
from wsol.photos.describe import constants_of, describe
from wsol.photos.finding import PhotoFiles, find_photos
from wsol.photos.localize import Pictures, gallery_items, localize_photos
from wsol.photos.localizer import Localizer
from wsol.photos.parts import Parts, begun_with, output_folder, part_size
from wsol.photos.tables import BOXES, DETECTIONS, UNREAD, Kept, write_boxes, write_detections, write_unreadable
from wsol.plots.gallery import read_verdicts, write_gallery
from wsol.runs.export import export_onnx
from wsol.runs.final_evaluation import stop_at_bad_images
from wsol.runs.precision import resolve_mapping_amp
from wsol.runs.predictor import Predictor, restore
from wsol.runs.run_data import images_to_map
from wsol.runs.run_tables import write_class_ranks
from wsol.runs.training_free import training_free

GALLERY = "gallery.html"
METADATA_ROOT = "metadata/"


def choose_images(split: LevelSplit, options: Munch) -> None:
    """Keep only the images of --image_list in a split."""
    wanted = set(read_id_list(options.image_list, split.image_ids, f"{options.split} at this level"))
    kept = [image_id in wanted for image_id in split.image_ids]
    split.image_ids = [image_id for image_id, keep in zip(split.image_ids, kept, strict=True) if keep]
    split.labels = split.labels[kept]


def check_split(split: str, metadata_root: str, dataset_name: str) -> None:
    """Raise InputError if the data set does not have the split."""
    require_dataset(metadata_root, dataset_name)
    folder = Path(metadata_root) / dataset_name
    splits = [name for name in SPLITS if (folder / name).is_dir()]
    if split not in splits:
        raise InputError(f"--split {split}: {dataset_name} has the splits {', '.join(splits)}")


def check_map_folder(folder: Path) -> None:
    """Raise InputError if a folder for maps holds some already, or if another command has not finished it."""
    if by := unfinished_by(folder):
        raise InputError(
            f"--scoremap_root {folder}: not finished by {by!r}, which is still running or was stopped; remove the folder, "
            "or name another"
        )
    if holds_score_maps(folder):
        raise InputError(f"--scoremap_root {folder}: already holds score maps; expected a folder without any")
    check_folder(folder)


def restored(options: Munch) -> tuple[Predictor, Munch, torch.device]:
    """Return the model of --checkpoint or --architecture on its device, its checked configuration, and the device."""
    device = resolve_device(options.device, options.amp, options.tf32)
    use_tf32(options.tf32)
    use_threads(resolve_threads(options.threads))
    if options.architecture:
        metadata_root = options.metadata_root or METADATA_ROOT
        check_split(options.split, metadata_root, options.dataset_name)
        without = training_free(
            options.architecture,
            options.extractor,
            options.dataset_name,
            options.split,
            metadata_root=metadata_root,
            label_level=options.label_level,
            pretrained=options.pretrained,
            pretrained_path=options.pretrained_path,
            large_feature_map=options.large_feature_map,
            prompt=options.prompts,
            preprocessing=options.preprocessing,
            crop_size=options.crop_size,
            seed=options.seed,
        )
        return without.to(device), without.config, device
    predictor = restore(
        options.checkpoint,
        mapper=options.extractor,
        cam_agg_level=options.cam_agg_level,
        map_level=options.map_level,
        metadata_root=options.metadata_root,
        dataset_name=options.dataset_name,
        refiner=make_refiner(options.refine) if options.refine and options.images else None,
    )
    return predictor.to(device), check_saved_config(predictor.config, options.checkpoint), device


def map_split(options: Munch) -> None:
    """Write the score maps of a split."""
    scoremap_root = Path(options.scoremap_root)
    check_map_folder(scoremap_root)
    predictor, config, device = restored(options)
    if predictor.detects:
        raise InputError(f"--checkpoint {options.checkpoint}: {config.wsol_method} gives boxes, not score maps")
    given = {name: options[name] for name in ("dataset_name", "data_root", "metadata_root", "batch_size", "decode_scale")}
    config |= {name: value for name, value in given.items() if value is not None}
    check_split(options.split, config.metadata_root, config.dataset_name)
    data = predictor.load_splits((options.split,), config.metadata_root, config.dataset_name)
    split = data.splits[options.split]
    if options.image_list:
        choose_images(split, options)
    predictor.keep_mapped(split)
    if options.refine:
        folder = Path(config.metadata_root) / config.dataset_name / options.split
        proposals, coco_images = options.proposals, options.coco_images
        predictor.refiner = refiner_of_split(options.refine, proposals, folder, split.image_ids, coco_images)
    image_root = Path(config.data_root) / config.dataset_name
    check_cache(options.cache_images, image_root)
    if options.on_bad_image == "stop":
        require_images(image_root, split.image_ids, options.split, how_to_prepare(config.dataset_name))
    images = images_to_map(config, split, predictor.preprocessing, options.cache_images)
    loader = make_loader(images, config.batch_size, options.workers, device)
    amp, measured = resolve_mapping_amp(options.amp, predictor.mapper, config.batch_size, config.crop_size, device)
    bad_images: list[str] = []
    maps = predictor.predictions(loader, device, amp, bad_images)

    def save(prediction: Prediction) -> None:
        save_score_map(scoremap_root, prediction.image_id, prediction.score_map(), options.scoremap_format)

    mapped, ranks = 0, dict[str, int]()
    words = shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]])
    with loading_failures(options.workers), being_written(scoremap_root, words):
        for prediction, _ in progress(map_beside(save, maps), "mapping", len(split.image_ids)):
            mapped += 1
            if prediction.rank is not None:
                ranks[prediction.image_id] = prediction.rank
            if options.on_bad_image == "stop":
                stop_at_bad_images(bad_images)
        if options.on_bad_image == "stop":
            stop_at_bad_images(bad_images)
        if ranks:
            write_class_ranks(scoremap_root / f"{options.split}_class_ranks.csv", ranks)
    for line in measured:
        print(line)
    for message in bad_images:
        print(f"skipped: {message}")
    print(f"{mapped} score maps of {config.dataset_name} {options.split} in {scoremap_root}, {len(bad_images)} skipped")
    if predictor.cam_agg_level:
        print(f"maps of level {predictor.cam_agg_level!r} (--cam_agg_level)")
    if ranks or predictor.classifies:
        top1 = sum(rank == 0 for rank in ranks.values())
        print(f"top-1 classification {100 * top1 / max(len(ranks), 1):.2f} at level {data.level!r}")


def given_labels(options: Munch, files: PhotoFiles, localizer: Localizer) -> np.ndarray:
    """Return the class of each photo, int64 (n,), from --labels; UNKNOWN for those that it does not name."""
    labels = np.full(len(files), UNKNOWN, dtype=np.int64)
    if not options.labels:
        return labels
    report = Report()
    tables = TableOptions(options.encoding, parse_columns(options.columns or ()))
    predicted = "photos without a label, whose class is predicted"
    known = read_labels(list(files.ids), Path(options.labels), None, (), tables, report, predicted).classes
    try:
        numbers = {name: localizer.class_number(name) for name in sorted(set(known.values()))}
    except InputError as error:
        raise InputError(f"--labels {options.labels}: ", *error.parts) from None
    for position, image_id in enumerate(files.ids):
        labels[position] = numbers[known[image_id]] if image_id in known else UNKNOWN
    report.print()
    return labels


def localize(options: Munch) -> None:
    """Write boxes for photos."""
    files = find_photos(options.images, options.image_root)
    predictor, config, device = restored(options)
    localizer = Localizer(
        predictor, device=device, threshold=options.threshold, max_boxes=options.max_boxes, top_k=options.top_k
    )
    labels = given_labels(options, files, localizer)
    batch_size = options.batch_size or config.batch_size
    output = Path(options.output)
    asked = begun_with(output).get("amp", AUTO) if options.amp == AUTO else options.amp  # what it took when it began
    amp, measured = resolve_mapping_amp(asked, predictor.mapper, batch_size, config.crop_size, device)
    pictures = Pictures(options.overlays, options.maps, options.crops, options.html, options.scoremap_format)
    info = {"checkpoint": str(options.checkpoint), "version": version(), "threshold": options.threshold}
    settings = {
        "checkpoint": file_hash(Path(options.checkpoint)),
        "images": files.digest(),
        "labels": hashlib.sha256(labels.tobytes()).hexdigest(),
        "amp": amp,
        "batch_size": batch_size,
        **{name: options[name] for name in ("threshold", "max_boxes", "top_k", "extractor", "cam_agg_level")},
        "refine": options.refine,
        **({"map_level": predictor.map_level} if predictor.together else {}),
        **{name: options[name] for name in ("max_megapixels", "overlays", "maps", "crops", "html", "scoremap_format")},
    }
    verdicts = read_verdicts(options.keep) if options.keep else None
    if verdicts is not None and not set(verdicts) & set(files.ids):
        raise InputError(f"--keep {options.keep}: none of its files is among the photos; expected the names of boxes.csv")
    kept = Kept(options.min_confidence, options.min_expected_iou, verdicts)
    parts = Parts(output, files.ids, part_size(batch_size))
    with output_folder(output, settings, len(files)):
        begun = parts.finished() * parts.size
        with loading_failures(options.workers):
            start = time.monotonic()
            mapped = localize_photos(
                localizer, files, labels, parts, pictures, batch_size, options.workers, amp, options.max_megapixels
            )
            seconds = time.monotonic() - start
        write_detections(output / DETECTIONS, parts.rows, kept, predictor, info)
        levels = list(predictor.hierarchy)
        photos, boxes = write_boxes(output / BOXES, parts.rows(), kept, levels, options.top_k)
        unreadable = write_unreadable(output / UNREAD, parts.rows())
        if options.html:
            title = f"{options.images}: boxes by {options.checkpoint}"
            looked_at = replace(kept, verdicts=None)  # so that judging can go on: a page of all photos keeps its verdicts
            write_gallery(output / GALLERY, title, gallery_items(row for row in parts.rows() if looked_at(row)))
    for line in measured:
        print(line)
    if begun:
        print(f"{min(begun, len(files))} photos were done before")
    if mapped:
        print(f"{mapped} photos in {seconds:.0f} s, {mapped / max(seconds, 1e-9):.1f} a second")
    print(f"{boxes} boxes in {photos} of {len(files)} photos: {output / BOXES}, {output / DETECTIONS}")
    if verdicts is not None:
        print(f"--keep: {kept.verdict_counts(files.ids)}")
    rules = predictor.box_rules.values() if options.threshold is None else ()
    for note in dict.fromkeys(note for rule in rules for note in constants_of(rule)):
        print(f"note: {note}")
    titles = "could not be read", "have names that are not UTF-8", "are of a format that is not read; save them as JPEG"
    for title, lines in zip(titles, (unreadable, files.left_out, files.other_formats), strict=True):
        if lines:
            print(f"{len(lines)} photos {title}:" + first_names(lines))


def export(options: Munch) -> None:
    """Write the model as an ONNX file."""
    check_writable(options.output)
    predictor, _, _ = restored(options)
    roots = {name: options[name] for name in ("data_root", "metadata_root", "dataset_name") if options[name] is not None}
    predictor.config |= roots  # where the photos of val are, on which the file is checked
    print(export_onnx(predictor, options.output))


@command
def main() -> None:
    """Do what the options ask for."""
    options = get_inference_options(description=__doc__)
    keep_freed_memory()
    if options.describe:
        print("\n".join(describe(options.describe)))
    elif options.export:
        export(options)
    elif options.images:
        localize(options)
    else:
        map_split(options)


if __name__ == "__main__":
    main()
