"""Model and images to score maps; also the command that maps a split with a checkpoint, without training:

    python inference.py --checkpoint train_log/my_run/best_checkpoint.pth.tar --split val --scoremap_root my_maps

In: a model with `raw_maps`, a loader. Out: per batch, score maps in [0, 1] of the input size and the rank of the true
class; `.npy` files under `<scoremap_root>/<image_id>.npy`.
"""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from wsol.machine import resolve_threads, use_threads  # before torch, whose threads it tells to sleep while they wait

# isort: split
import numpy as np
import torch
from munch import Munch

from config import check_inference_options, check_saved_config, inference_parser, parse_options
from data_loaders import LabeledImages, load_level, make_loader, require_images
from dataset.known import require_dataset
from wsol import registry
from wsol.cam_agg import ancestors_at, keep_with_ancestor
from wsol.checkpoints import read_checkpoint, restore_model
from wsol.declared_size import MAX_MEGAPIXELS
from wsol.device import resolve_device
from wsol.errors import InputError, command
from wsol.files import check_folder
from wsol.levels import SPLITS, LevelData, LevelSplit, read_levels
from wsol.loading import loading_failures
from wsol.mapper import Mapper, make_mapper
from wsol.metadata import first_names, read_id_list
from wsol.parallel import map_beside
from wsol.prediction import Prediction, predict
from wsol.progress import progress
from wsol.score_maps import being_written, holds_score_maps, save_score_map, unfinished_by
from wsol.tables import write_class_ranks


def choose_images(split: LevelSplit, options: Munch) -> None:
    """Leave only the images of --image_list in a split."""
    wanted = set(read_id_list(options.image_list, split.image_ids, f"{options.split} at this level"))
    kept = [image_id in wanted for image_id in split.image_ids]
    split.image_ids = [image_id for image_id, keep in zip(split.image_ids, kept, strict=True) if keep]
    split.labels = split.labels[kept]


def load_split(options: Munch, config: Munch, checkpoint: Mapping) -> LevelData:
    """Return the level that a checkpoint was trained at, with the split to map, labelled as in training."""
    require_dataset(config.metadata_root, config.dataset_name)
    folder = Path(config.metadata_root) / config.dataset_name
    level = checkpoint["label_level"]
    splits = [name for name in SPLITS if (folder / name).is_dir()]
    if options.split not in splits:
        raise InputError(f"--split {options.split}: {config.dataset_name} has the splits {', '.join(splits)}")
    if not config.get("coarsening") and level not in (levels := read_levels(folder)):
        known = ", ".join(levels)
        raise InputError(f"{options.checkpoint}: was trained at level {level!r}; {config.dataset_name} has {known}")
    coarsening = config.get("coarsening")
    level = None if coarsening else level
    data = load_level(config.metadata_root, config.dataset_name, level, (options.split,), coarsening=coarsening)
    # Classes are told by their label in the files and their name: names alone may repeat.
    trained = list(zip(checkpoint["file_labels"], checkpoint["class_names"], strict=True))
    classes = list(zip(data.file_labels, data.class_names, strict=True))
    if unknown := [name for label, name in classes if (label, name) not in trained]:
        raise InputError(
            f"{options.checkpoint}: was not trained on {len(unknown)} classes of {config.dataset_name} at level "
            f"{data.level!r}:" + first_names(unknown)
        )
    split = data.splits[options.split]
    if options.image_list:
        choose_images(split, options)
    split.labels = np.array([trained.index(one) for one in classes])[split.labels]
    return data


def restore_mapper(
    options: Munch, config: Munch, checkpoint: Mapping, split: LevelSplit, cam_agg_level: str | None
) -> Mapper:
    """Return the checkpoint's model, with its maps made as the options say; images that get none leave the split."""
    ancestors = None
    if cam_agg_level:
        levels = (checkpoint["label_level"], cam_agg_level)
        ancestors = ancestors_at(config.metadata_root, config.dataset_name, *levels, checkpoint["file_labels"])
        keep_with_ancestor(split, ancestors)
    model = restore_model(checkpoint, options.checkpoint)
    return make_mapper(options.extractor if ancestors is None else registry.CAM_AGG, model, ancestors)


def check_map_folder(folder: Path) -> None:
    """Refuse a folder for maps that holds some, or that another command has not finished."""
    if by := unfinished_by(folder):
        raise InputError(
            f"--scoremap_root {folder}: not finished by {by!r}, which is at work or was stopped; remove it, or name another"
        )
    if holds_score_maps(folder):
        raise InputError(f"--scoremap_root {folder}: holds score maps already; expected a folder without any")
    check_folder(folder)


@command
def main() -> None:
    """Map one split with a checkpoint."""
    options = parse_options(inference_parser(__doc__))
    check_inference_options(options)
    device = resolve_device(options.device, options.amp)
    use_threads(resolve_threads(options.threads))
    checkpoint = read_checkpoint(options.checkpoint)
    checkpoint["config"] = check_saved_config(checkpoint["config"], options.checkpoint)
    given = {name: options[name] for name in ("dataset_name", "data_root", "metadata_root", "batch_size")}
    config = Munch({**checkpoint["config"], **{name: value for name, value in given.items() if value is not None}})
    scoremap_root = Path(options.scoremap_root)
    check_map_folder(scoremap_root)
    data = load_split(options, config, checkpoint)
    split = data.splits[options.split]
    # A run's own level is that of its method's maps; other extractors map the classes trained on.
    own_level = config.get("cam_agg_level") if options.extractor == registry.OWN_MAPS else None
    cam_agg_level = options.cam_agg_level or own_level
    mapper = restore_mapper(options, config, checkpoint, split, cam_agg_level)
    image_root = Path(config.data_root) / config.dataset_name
    if options.on_bad_image == "stop":
        require_images(image_root, split.image_ids, options.split, config.dataset_name)
    mapper.to(device, memory_format=torch.channels_last)
    limit = config.get("max_megapixels", MAX_MEGAPIXELS)  # runs before this option lack it
    images = LabeledImages(image_root, split, config.crop_size, max_megapixels=limit)
    loader = make_loader(images, config.batch_size, options.workers, device)
    bad_images: list[str] = []
    maps = predict(mapper, loader, device, options.amp, bad_images)

    def save(prediction: Prediction) -> None:
        save_score_map(scoremap_root, prediction.image_id, prediction.score_map(), options.scoremap_format)

    ranks: dict[str, int] = {}
    words = shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]])
    with loading_failures(options.workers), being_written(scoremap_root, words):
        for prediction, _ in progress(map_beside(save, maps), "mapping", len(split.image_ids)):
            ranks[prediction.image_id] = prediction.rank
            if bad_images and options.on_bad_image == "stop":
                break
        if bad_images and options.on_bad_image == "stop":
            raise InputError(f"{bad_images[0]} (--on_bad_image skip leaves such images out)")
        write_class_ranks(scoremap_root / f"{options.split}_class_ranks.csv", ranks)
    for message in bad_images:
        print(f"skipped: {message}")
    print(f"{len(ranks)} score maps of {config.dataset_name} {options.split} in {scoremap_root}, {len(bad_images)} skipped")
    if cam_agg_level:
        print(f"maps of level {cam_agg_level!r} (--cam_agg_level)")
    top1 = sum(rank == 0 for rank in ranks.values())
    print(f"top-1 classification {100 * top1 / max(len(ranks), 1):.2f} at level {data.level!r}")


if __name__ == "__main__":
    main()
