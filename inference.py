"""Model and images to score maps; also the command that maps a split with a checkpoint, without training:

    python inference.py --checkpoint train_log/my_run/best_checkpoint.pth.tar --split val --scoremap_root my_maps

In: a model with `raw_maps`, a loader. Out: per batch, score maps in [0, 1] of the input size and the rank of the true
class; `.npy` files under `<scoremap_root>/<image_id>.npy`.
"""

import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wsol.machine import resolve_threads, use_threads  # before torch, whose threads it tells to sleep while they wait

# isort: split
from config import check_saved_config, get_inference_options
from option_tables import OWN_MAPS
from wsol.errors import InputError, command, refuse_early

if __name__ == "__main__":  # before the seconds in which torch is loaded
    refuse_early(partial(get_inference_options, description=__doc__))

import numpy as np
import torch
from munch import Munch
from torch import nn

from data_loaders import Batch, LabeledImages, load_level, make_loader, require_images
from dataset.known import require_dataset
from wsol.cam_agg import aggregate, ancestors_at, keep_with_ancestor
from wsol.checkpoints import read_checkpoint, restore_model
from wsol.declared_size import MAX_MEGAPIXELS
from wsol.files import check_folder
from wsol.levels import SPLITS, LevelData, LevelSplit, read_levels
from wsol.loading import loading_failures
from wsol.metadata import first_names, read_id_list
from wsol.normalize import normalize_raw_map
from wsol.options import AUTO
from wsol.parallel import map_beside
from wsol.progress import progress
from wsol.score_maps import being_written, holds_score_maps, save_score_map, unfinished_by
from wsol.tables import write_class_ranks

AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str, amp: str = "off") -> torch.device:
    """Return the torch device of `--device`, checked to exist."""
    if name == AUTO:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    count = torch.cuda.device_count()
    known = re.fullmatch(r"cpu|cuda(?::(\d{1,4}))?", name)  # neither torch nor int() take a number of any length
    if not known or (name != "cpu" and int(known[1] or 0) >= count):
        raise InputError(f"--device {name[:40]}: expected cpu or one of {count} GPUs found here")
    device = torch.device(name)
    if amp == "fp16" and device.type == "cpu":
        raise InputError("--amp fp16: a CPU has no fp16 arithmetic worth using; expected bf16 or off, or a GPU")
    return device


def autocast(device: torch.device, amp: str) -> torch.autocast:
    """Return the context in which a network runs under `--amp`."""
    return torch.autocast(device.type, dtype=AMP_DTYPES.get(amp), enabled=amp != "off")


def to_device(batch: Batch, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a batch's images (channels last) and labels on the device, without waiting for the copies."""
    images = batch.images.to(device, non_blocking=True, memory_format=torch.channels_last)
    return images, batch.labels.to(device, non_blocking=True)


@dataclass
class Prediction:
    """What one image gave: its raw map, any float (h, w), the input size (w, h), and its true class's rank among the logits
    (0: top)."""

    image_id: str
    raw_map: np.ndarray
    size: tuple[int, int]
    rank: int

    def score_map(self) -> np.ndarray:
        """Return the score map, float64 in [0, 1], of the input size."""
        return normalize_raw_map(self.raw_map, self.size)


def predict(
    model: nn.Module, loader: torch.utils.data.DataLoader, device: torch.device, amp: str, bad_images: list[str]
) -> Iterator[Prediction]:
    """Yield every image's prediction, in the loader's order, from one forward pass.

    Messages of images that could not be read are added to `bad_images`.
    """
    model.eval()
    with torch.inference_mode():
        for batch in loader:
            bad_images.extend(batch.bad)
            if not batch.image_ids:
                continue
            images, labels = to_device(batch, device)
            with autocast(device, amp):
                outputs = model(images, labels)
            raw_maps = model.raw_maps(outputs, labels).cpu().numpy()
            logits = outputs["logits"].float()
            true_logits = logits.gather(1, labels[:, None])
            # A class before it with the same logit ranks higher, as in a stable sort; NaN logits rank last.
            position = torch.arange(logits.shape[1], device=device)
            ahead = ~(logits <= true_logits) | ((logits == true_logits) & (position < labels[:, None]))
            ranks = ahead.sum(dim=1).cpu().tolist()
            size = (images.shape[3], images.shape[2])
            for image_id, raw_map, rank in zip(batch.image_ids, raw_maps, ranks, strict=True):
                yield Prediction(image_id, raw_map, size, rank)


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


def make_mapper(
    options: Munch, config: Munch, checkpoint: Mapping, split: LevelSplit, cam_agg_level: str | None
) -> nn.Module:
    """Return the checkpoint's model, with its maps made as the options say; images that get none leave the split."""
    ancestors = None
    if cam_agg_level:
        levels = (checkpoint["label_level"], cam_agg_level)
        ancestors = ancestors_at(config.metadata_root, config.dataset_name, *levels, checkpoint["file_labels"])
        keep_with_ancestor(split, ancestors)
    model = restore_model(checkpoint, options.checkpoint)
    if options.extractor != OWN_MAPS:
        from wsol.extractors import ExtractedMaps  # imports a library that nothing else needs

        return ExtractedMaps(model, options.extractor)
    return model if ancestors is None else aggregate(model, ancestors)


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
    options = get_inference_options(description=__doc__)
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
    own_level = config.get("cam_agg_level") if options.extractor == OWN_MAPS else None
    cam_agg_level = options.cam_agg_level or own_level
    mapper = make_mapper(options, config, checkpoint, split, cam_agg_level)
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
