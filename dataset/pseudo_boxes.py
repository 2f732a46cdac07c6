"""Make noisy boxes of a split where nobody has drawn any, to choose checkpoints and thresholds with (--select_on pseudo):

    python dataset/pseudo_boxes.py MyData --proposals detections.json --pretrained_path weights.pth
    python dataset/pseudo_boxes.py MyData --proposals selective_search --pretrained_path weights.pth

Each image takes, of class-agnostic proposals, the one that fits best the map of a reference network before training, which
is none of those to be chosen among (in the spirit of Murtaza et al., WACV 2025). The fit is wsol/metrics/proposal_fit.py's
soft IoU. Writes pseudo_localization.txt and pseudo_boxes.json into the split's metadata, once.
"""

import hashlib
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import wsol.core.machine  # noqa: F401  (before torch, whose threads it tells to sleep while they wait)

# isort: split
import cv2
import numpy as np
import torch

from dataset.known import how_to_prepare, require_dataset
from dataset.layout import write_lines
from dataset.selective_search import require_selective_search, selective_search
from wsol.core.arguments import Parser, folder_name, whole
from wsol.core.errors import InputError, command
from wsol.core.files import check_writable, file_hash, write_json
from wsol.core.options import boolean
from wsol.core.processes import map_beside
from wsol.core.progress import progress, tell
from wsol.core.version import version
from wsol.data.batches import LabeledImages, make_loader
from wsol.data.images import load_image, require_images
from wsol.data.levels import SPLITS, LevelSplit
from wsol.data.metadata import Box, configure_metadata, get_image_ids
from wsol.data.proposals import Proposal, read_split_proposals, require_sizes
from wsol.data.truth import PSEUDO_BOXES
from wsol.maps.prediction import Prediction, predict
from wsol.maps.reference import NORM, PREDICTED, REFERENCE_MAPS, reference_mapper
from wsol.methods.build import build_model
from wsol.metrics.proposal_fit import best_proposal
from wsol.networks.device import resolve_device
from wsol.runs.final_evaluation import stop_at_bad_images

RECORD = "pseudo_boxes.json"  # beside the boxes: how they were made
SELECTIVE_SEARCH = "selective_search"
ARCHITECTURE = "timm:tf_efficientnet_lite0"
IMAGENET_CLASSES = 1000
BATCH = 16


@dataclass(frozen=True)
class Fitted:
    """What an image got: its pseudo box, the fit of its proposal (None: it had none), the lines of all its proposals."""

    box: Box
    fit: float | None
    proposals: list[str]


def searching(images: Path, sizes: Mapping[str, tuple[int, int]]) -> Callable[[str], list[Proposal]]:
    """Return a function of an image's id that gives the proposals of Selective Search.

    Raises:
        OptionError: this OpenCV does not have it.
        InputError: an image does not have the size that the metadata state, raised by the function.
    """
    require_selective_search()

    def search(image_id: str) -> list[Proposal]:
        image = load_image(images / image_id)
        if image.size != sizes[image_id]:
            raise InputError(f"{images / image_id}: {image.size}; expected the size in image_sizes.txt, {sizes[image_id]}")
        return [
            Proposal((x0, y0, x1, y1), None, image_id) for x0, y0, x1, y1 in selective_search(np.asarray(image)).tolist()
        ]

    return search


def fit_all(
    predictions: Iterable[Prediction],
    proposals_of: Callable[[str], list[Proposal]],
    sizes: Mapping[str, tuple[int, int]],
    bad_images: list[str],
) -> dict[str, Fitted]:
    """Return image id to what it got, from the reference network's predictions; proposals are fitted in threads beside it.

    Raises:
        InputError: an image could not be read; `predictions` adds the messages to `bad_images`.
    """

    def fit(prediction: Prediction) -> Fitted:
        image_id = prediction.image_id
        proposals = proposals_of(image_id)
        lines = [f"{image_id},{','.join(map(str, proposal.box))}" for proposal in proposals]
        best = best_proposal(prediction.score_map(), proposals, sizes[image_id])
        return Fitted((0, 0, *sizes[image_id]), None, lines) if best is None else Fitted(best[0].box, best[1], lines)

    found = {}
    for prediction, fitted in progress(map_beside(fit, predictions), "fitting", len(sizes)):
        stop_at_bad_images(bad_images)
        found[prediction.image_id] = fitted
    stop_at_bad_images(bad_images)
    return {image_id: found[image_id] for image_id in sizes}


def _make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("name", metavar="NAME", type=folder_name, help="a data set in --metadata_root")
    parser.add_argument("--split", choices=SPLITS[:2], default="val", help="default: val")
    parser.add_argument(
        "--proposals",
        required=True,
        metavar="FILE|selective_search",
        help="COCO results or annotations with any number of boxes or segmentations for each image, or Selective Search",
    )
    parser.add_argument(
        "--coco_images",
        type=Path,
        metavar="FILE",
        help="COCO annotation file that names the numeric image ids of the results",
    )
    parser.add_argument("--reference", default=ARCHITECTURE, metavar="ARCHITECTURE", help=f"default: {ARCHITECTURE}")
    parser.add_argument("--pretrained_path", type=Path, metavar="FILE", help="its weights (default: downloaded)")
    parser.add_argument(
        "--pretrained", type=boolean, default=True, metavar="BOOL", help="FALSE: random weights, for trials of the command"
    )
    parser.add_argument(
        "--reference_map",
        choices=REFERENCE_MAPS,
        default=NORM,
        help="the length of its features, or the map of the ImageNet class that it predicts (default: norm)",
    )
    parser.add_argument("--crop_size", type=whole, default=224, help="side of its input in pixels (default: 224)")
    parser.add_argument("--replace", action="store_true", help="replace pseudo boxes that exist")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--data_root", type=Path, default=Path("dataset"), help="default: dataset/")
    parser.add_argument("--metadata_root", type=Path, default=Path("metadata"), help="default: metadata/")
    return parser


def hash_lines(lines: Iterable[str]) -> str:
    """Return the SHA-256, in hexadecimal, of lines as `write_lines` writes them."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def open_proposals(
    options: Namespace, images: Path, sizes: Mapping[str, tuple[int, int]]
) -> tuple[Callable[[str], list[Proposal]], dict[str, object]]:
    """Return (an image's id to its proposals, what the record says of where they come from).

    Raises:
        InputError: the file is not one of proposals, or has none of these images; no Selective Search here.
    """
    if options.proposals == SELECTIVE_SEARCH:
        return searching(images, sizes), {"kind": SELECTIVE_SEARCH, "opencv": cv2.__version__}
    path = Path(options.proposals)
    given = read_split_proposals(path, options.metadata_root / options.name / options.split, sizes, options.coco_images)
    if given.others:
        tell(f"{path}: proposals of {len(given.others)} images that are not in {options.split}, left out")
    return given.found.__getitem__, {"kind": "coco", "file": path.name, "file_sha256": file_hash(path)}


def reference_predictions(
    options: Namespace, images: Path, image_ids: list[str], bad_images: list[str]
) -> tuple[Iterator[Prediction], dict[str, object]]:
    """Return (the reference network's predictions of a split's images, what the record says of it).

    Raises:
        InputError: no such network, or weights that cannot be obtained or do not match.
    """
    path = options.pretrained_path
    torch.manual_seed(0)  # for the classifier, and for random weights
    model = build_model(
        options.reference,
        "cam",
        IMAGENET_CLASSES,
        pretrained=options.pretrained,
        pretrained_path=path and str(path),
        keep_classifier=options.reference_map == PREDICTED,
    )
    device = resolve_device(options.device)
    split = LevelSplit(image_ids, np.zeros(len(image_ids), dtype=np.int64))
    view = LabeledImages(images, split, options.crop_size, preprocessing=model.backbone.offer.preprocessing)
    mapper = reference_mapper(model, options.reference_map).to(device)
    about = {
        "architecture": options.reference,
        "weights": path.name if path else "ImageNet" if options.pretrained else "random",
        "weights_sha256": path and file_hash(path),
        "map": options.reference_map,
        "crop_size": options.crop_size,
    }
    return predict(mapper, make_loader(view, BATCH, 0, device), device, "off", bad_images), about


@command
def main() -> None:
    """Make the pseudo boxes of one split."""
    parser = _make_parser()
    options = parser.parse_args()
    require_dataset(options.metadata_root, options.name)
    folder, images = options.metadata_root / options.name / options.split, options.data_root / options.name
    target = folder / PSEUDO_BOXES
    if target.exists() and not options.replace:
        raise InputError(f"{target}: exists; made once, so that all runs have the same (--replace makes them again)")
    if not 32 <= options.crop_size <= 10_000:
        parser.error(f"--crop_size {options.crop_size}: expected 32 to 10000 pixels")
    if not options.pretrained and (options.pretrained_path or options.reference_map == PREDICTED):
        parser.error("--pretrained FALSE: random weights; expected no --pretrained_path, and --reference_map norm")
    if options.coco_images and options.proposals == SELECTIVE_SEARCH:
        parser.error("--coco_images names the images of a file; expected --proposals FILE")
    check_writable(target)
    image_ids = get_image_ids(configure_metadata(folder))
    require_images(images, image_ids, options.split, how_to_prepare(options.name))
    sizes = require_sizes(folder, image_ids)
    proposals_of, about_proposals = open_proposals(options, images, sizes)
    bad_images: list[str] = []
    predictions, reference = reference_predictions(options, images, image_ids, bad_images)
    fitted = fit_all(predictions, proposals_of, sizes, bad_images)

    lines = [f"{image_id},{','.join(map(str, one.box))}" for image_id, one in fitted.items()]
    every = [line for one in fitted.values() for line in one.proposals]
    fits = [one.fit for one in fitted.values() if one.fit is not None]
    record = {
        "dataset_name": options.name,
        "split": options.split,
        "version": version(),
        "proposals": {**about_proposals, "number": len(every), "sha256": hash_lines(every)},
        "reference": reference,
        "fit": {"criterion": "soft IoU", "mean": sum(fits) / len(fits) if fits else None},
        "images": len(fitted),
        "images_without_proposal": {"number": len(fitted) - len(fits), "box": "the whole image"},
        "boxes_sha256": hash_lines(lines),
    }
    write_json(folder / RECORD, record)
    write_lines(target, lines)  # last: with it they exist
    without = f"{len(fitted) - len(fits)} images had none and got the whole image"
    print(f"{target}: {len(fitted)} boxes, from {len(every)} proposals; {without}")


if __name__ == "__main__":
    main()
