"""What fuzz.py reads: every reader of files, by its public entry, with valid files to mutate.

In: nothing. Out: `Reader`s. A reader's files are written to an empty folder, and its call gets that folder.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch

from config import read_config, training_groups
from dataset import aircraft, cub, oxford_pet, tiny_imagenet, wordnet
from dataset.annotations import read_boxes, read_taxonomy
from dataset.build_inatloc import Photo as Reviewed
from dataset.build_inatloc import photos_of, read_observations, read_verdicts, taxonomy
from dataset.layout import image_size
from dataset.localized import MaskReader
from dataset.orientation import Photo, read_photo, upright_bytes
from dataset.photos import Report, read_labels
from dataset.released import take_text
from dataset.sources import extract
from dataset.tables import TableOptions
from scripts.trials import fuzz_formats as formats
from scripts.trials import fuzz_mutations as kinds
from scripts.trials import fuzz_seeds as seeds
from scripts.trials import fuzz_torch, workspace
from wsol.core.csv_rows import read_notice, read_rows
from wsol.core.errors import InputError, MetadataError
from wsol.core.flat_yaml import read_dumped, read_flat_yaml
from wsol.core.nested_yaml import read_nested_yaml
from wsol.core.options import by_name
from wsol.data import hierarchy, levels, metadata
from wsol.data.coco import read_coco, read_coco_names
from wsol.data.images import load_image
from wsol.data.masks import get_mask
from wsol.data.proposals import read_proposals
from wsol.data.truth import SplitTruth
from wsol.maps.score_maps import read_score_map
from wsol.methods import wsolevaluation
from wsol.methods.build import build_model
from wsol.methods.method import Method
from wsol.metrics.detections import read_detections
from wsol.metrics.images_file import read_images, read_interval
from wsol.networks.weights import load_file_into, read_state_dict
from wsol.runs.checkpoints import read_checkpoint, restore_model
from wsol.runs.results import read_results
from wsol.runs.resume import load_state, read_to_resume
from wsol.runs.run_record import read_record
from wsol.runs.run_tables import read_class_ranks
from wsol.runs.train_state import to_arrays
from wsol.runs.val_thresholds import read_val_thresholds
from wsol.sweeps.collection import collect, tidy_rows
from wsol.sweeps.protocol import read_protocol
from wsol.sweeps.spec import read_spec
from wsol.sweeps.states import state_of

MEGAPIXELS = 1.0  # the limit that the readers of pixels are given
PHOTO = Photo(workspace.SIZE)


@dataclass(frozen=True)
class Reader:
    """A reader: the valid inputs to start from, the mutations that their files get, and a call that reads a folder.

    mutated: the files that are mutated; none: all.
    """

    name: str
    seeds: Callable[[], list[seeds.Files]]
    mutations: tuple[kinds.Mutation, ...]
    call: Callable[[Path], object]
    mutated: tuple[str, ...] = ()


def _the(folder: Path) -> Path:
    """Return the only file of a folder."""
    return next(path for path in folder.iterdir() if path.name.startswith("file"))


def _all(*readings: Callable[[], object]) -> list[object]:
    """Call all and return what they return; raise the first error that is not our own, or ours if all calls refuse."""
    results: list[object] = []
    errors: list[InputError] = []
    other: Exception | None = None
    for read in readings:
        try:
            results.append(read())
        except InputError as error:
            errors.append(error)
        except Exception as error:  # noqa: BLE001 (raised again after the other calls)
            other = other or error
    if other:
        raise other
    if not results:
        raise errors[0]
    return results


# Metadata, levels, hierarchies, tables of this project.


def _metadata(folder: Path) -> object:
    split = metadata.configure_metadata(folder / "metadata/Mini/val")
    ids = split["image_ids"]
    return _all(
        lambda: metadata.get_image_ids(split),
        lambda: metadata.get_class_labels(split),
        lambda: metadata.get_fitting_sizes(split, metadata.get_bounding_boxes(split)),
        lambda: metadata.get_mask_paths(split),
        lambda: (metadata.has_boxes(split), metadata.has_masks(split)),
        lambda: metadata.read_id_list(ids, ["val/ant/0.png"], "val"),
        lambda: SplitTruth.read(folder / "metadata", folder / "dataset", "Mini", "val"),
    )


def _levels(folder: Path) -> object:
    root = folder / "metadata"
    return _all(
        lambda: levels.load_level(root, "Mini"),
        lambda: levels.load_level(root, "Mini", "order", num_val_sample_per_class=1),
        lambda: levels.read_hierarchy(root / "Mini"),
        lambda: levels.class_ancestors(root, "Mini", "species", "order"),
        lambda: levels.labels_by_level(root / "Mini", "val"),
    )


def _tree(read: Callable[[Path], hierarchy.Hierarchy], folder: Path) -> object:
    tree = read(_the(folder))
    list(tree.deepest_steps())
    return tree.coarsen(0), tree.restricted(tree.leaves).tree_text(), read_notice(_the(folder))


def _coarsening(folder: Path) -> object:
    tree = hierarchy.Hierarchy({"ant": "insects", "bee": "insects", "cat": "mammals", "insects": "r", "mammals": "r"})
    return hierarchy.read_coarsening(_the(folder), tree)


# Images, seeds.masks, score maps.


def _image(folder: Path) -> object:
    path = _the(folder)
    return _all(
        lambda: load_image(path, MEGAPIXELS),
        lambda: read_photo(path, MEGAPIXELS),
        lambda: image_size(path),
        lambda: upright_bytes(path) if read_photo(path, MEGAPIXELS).orientation > 1 else None,
    )


def _mask(folder: Path) -> object:
    name = _the(folder).name
    return _all(
        lambda: get_mask(folder, [name], name, (20, 20), None, MEGAPIXELS),
        lambda: _used(MaskReader([], [7], MEGAPIXELS).read(folder / name, PHOTO)),
    )


def _used(mask: object) -> object:
    if isinstance(mask, str):  # why the mask cannot be used
        raise InputError(mask)
    return mask


# Runs and sweeps.


def _sweep(folder: Path) -> object:
    return _all(
        lambda: tidy_rows(collect([folder])),
        lambda: [state_of(folder / "s" / name) for name in "ab"],
        lambda: [read_record(folder / "s" / name) for name in "ab"],
        lambda: (found := read_protocol(folder / "s")) and (found.role("a"), found.marks("a"), found.test_runs),
    )


def _results(folder: Path) -> object:
    path = _the(folder)

    def figures() -> object:
        found = read_results(path)
        return found.rows(), [(found.split(name).by_iou(), found.split(name).has_localization) for name in found.splits]

    return _all(figures, lambda: read_val_thresholds(path))


def _images_file(folder: Path) -> object:
    return _all(lambda: read_images(_the(folder)).evaluator().results(), lambda: read_interval(_the(folder)))


def _yaml(folder: Path) -> object:
    path = _the(folder)
    return _all(lambda: read_flat_yaml(path), lambda: read_dumped(path), lambda: read_config(path))


def _spec(folder: Path) -> object:
    path = _the(folder)
    return _all(lambda: read_spec(path, by_name(training_groups())), lambda: read_nested_yaml(path).tree())


# PyTorch's files.


def _checkpoint(folder: Path) -> object:
    path = folder / "file.pth.tar"

    def resume() -> object:
        found = read_to_resume(str(path), folder)
        if found is None:
            return None
        state = fuzz_torch.train_state()
        load_state(state, found)
        for validation in state.validation.values():
            evaluator = fuzz_torch.evaluator(scored=False)
            evaluator.load_state_dict(to_arrays(validation.counts))
            evaluator.results()
        return state

    return _all(resume, lambda: restore_model(read_checkpoint(path), path), lambda: read_val_thresholds(path))


@cache
def _network() -> torch.nn.Module:
    return torch.nn.ModuleDict({"conv1": torch.nn.Linear(3, 2, bias=False), "fc": torch.nn.Linear(2, 2)})


@cache
def _method() -> Method:
    return build_model("resnet18", "cam", 2)


def _weights(folder: Path) -> object:
    path = str(_the(folder))
    return _all(
        lambda: read_state_dict(path),
        lambda: load_file_into(_network(), path, ("fc",)),
        lambda: wsolevaluation.read(_method(), path),
    )


# Other people's annotations, tables and archives.

OTHERS = TableOptions()
IMAGES = [f"{name}/{number}.jpg" for name, _ in workspace.CLASSES for number in range(6)]
SIZES = {
    f"{split}/{name}/{number}.png": workspace.SIZE
    for split in ("val",)
    for name, _ in workspace.CLASSES
    for number in (0, 1)
}


def _labels(folder: Path) -> object:
    path = _the(folder)
    return _all(
        lambda: read_labels(IMAGES, path, None, [], OTHERS, Report()),
        lambda: read_labels(IMAGES, path, "group", ["label", "order"], TableOptions("utf-16"), Report()),
        lambda: read_boxes(path, IMAGES, OTHERS),
        lambda: read_taxonomy(path),
    )


def _inaturalist(folder: Path) -> object:
    path = folder / "file.json"

    def photos() -> object:
        images, categories = read_coco(path)
        found, _ = photos_of(path, images.values(), None, alone=True)
        return found, taxonomy(path, categories)

    return _all(photos, lambda: read_coco_names(path), lambda: read_boxes(path, IMAGES, OTHERS))


def _observations(folder: Path) -> object:
    return _all(
        lambda: read_observations(_the(folder)), lambda: read_verdicts(_the(folder), [Reviewed("a.jpg", "ant", "3", (9, 9))])
    )


def _cub(folder: Path) -> object:
    _, annotations = cub.read_annotations(folder)
    return [cub.released_box(one.box, (500, 300)) for one in annotations]


def _tiny(folder: Path) -> object:
    return tiny_imagenet.read_annotations(folder / "val_annotations.txt", tiny_imagenet.read_names(folder))


def _wordnet(folder: Path) -> object:
    nouns = folder / "wordnet/data.noun"
    words, hypernyms, _ = wordnet.read_nouns(nouns)
    synsets = wordnet.read_synsets(folder / "synsets.txt", hypernyms)
    try:
        return words, hierarchy.greedy_parents(wordnet.hypernym_graph(hypernyms, synsets), synsets)
    except MetadataError as error:  # the command adds the name of the file, too
        raise InputError(f"{nouns}: {error}") from None


def _archive(folder: Path) -> object:
    path = _the(folder)
    return _all(
        lambda: extract(path, folder / "out", lambda name: name),
        lambda: extract(path, folder / "out", lambda name: name.rpartition("/")[2] or None, resume=True),
        lambda: take_text([path], folder / "out", "m/", ["val"]),
    )


def _each(read: Callable[[Path], object], folder: Path) -> object:
    return read(_the(folder))


def _voc(folder: Path) -> object:
    return read_boxes(folder / "voc", IMAGES, OTHERS)


READERS = (
    Reader("metadata", lambda: seeds.below("metadata"), kinds.TEXT, _metadata, ("metadata/Mini/val/",)),
    Reader("levels", lambda: seeds.below("metadata"), kinds.TEXT, _levels),
    Reader("tree.csv", lambda: seeds.files(".csv", seeds.NOTED), kinds.TEXT, partial(_tree, hierarchy.read_tree)),
    Reader(
        "hierarchy.csv",
        lambda: seeds.files(".csv", seeds.TIERS),
        kinds.TEXT,
        partial(_tree, lambda path: hierarchy.read_tiers(path)[1]),
    ),
    Reader("coarsening", lambda: seeds.files(".csv", "class,k\nant,1\nbee,1\ncat,0\n"), kinds.TEXT, _coarsening),
    Reader("CSV rows", lambda: seeds.taken("ranks.csv", "rejected.csv"), kinds.TEXT, partial(_each, read_rows)),
    Reader("class ranks", lambda: seeds.taken("ranks.csv"), kinds.TEXT, partial(_each, read_class_ranks)),
    Reader("images", seeds.pictures, kinds.IMAGE, _image),
    Reader("PNG images", lambda: [one for one in seeds.pictures() if seeds.is_png(one)], formats.PNG, _image),
    Reader("masks", seeds.masks, kinds.IMAGE, _mask),
    Reader("PNG masks", lambda: [one for one in seeds.masks() if seeds.is_png(one)], formats.PNG, _mask),
    Reader("maps .npy", lambda: seeds.score_maps("npy"), formats.NPY, lambda f: read_score_map(_the(f), MEGAPIXELS)),
    Reader("maps .npz", lambda: seeds.score_maps("npz"), formats.NPZ, lambda f: read_score_map(_the(f), MEGAPIXELS)),
    Reader(
        "maps .png",
        lambda: seeds.score_maps("png8") + seeds.score_maps("png16"),
        formats.PNG,
        lambda f: read_score_map(_the(f), MEGAPIXELS),
    ),
    Reader(
        "images.npz", seeds.images_files, (formats.zip_members(formats.NPY + kinds.TEXT),) * 6 + kinds.BYTES, _images_file
    ),
    Reader("options .yaml", lambda: seeds.files(".yaml", seeds.RUN, "lr: 0.1\nepochs: 3\n"), kinds.TEXT, _yaml),
    Reader("sweep specs", lambda: seeds.files(".yaml", seeds.SPEC, seeds.GRID), kinds.TEXT, _spec),
    Reader(
        "results",
        lambda: seeds.files(".json", json.dumps(seeds.RESULTS), json.dumps({**seeds.FIGURES, "split": "val"})),
        kinds.JSON,
        _results,
    ),
    Reader("sweeps' records", seeds.sweeps, kinds.JSON, _sweep, ("s/protocol.json", "s/a/results.json", "s/a/run.json")),
    Reader("sweeps' configurations", seeds.sweeps, kinds.TEXT, _sweep, ("s/a/config.yaml", "s/b/config.yaml")),
    Reader(
        "checkpoints", lambda: seeds.files(".pth.tar", *seeds.both(fuzz_torch.checkpoint())), fuzz_torch.TORCH, _checkpoint
    ),
    Reader("weights", lambda: seeds.files(".pth", *seeds.both(fuzz_torch.weights())), fuzz_torch.TORCH, _weights),
    Reader("safetensors", seeds.tensors, kinds.IMAGE, _weights),
    Reader("COCO", lambda: seeds.taken("coco.json", "train.json", "boxed.json"), kinds.JSON, _inaturalist),
    Reader("detections", lambda: seeds.taken("detections.json"), kinds.JSON, lambda f: read_detections(_the(f), SIZES)),
    Reader("proposals", lambda: seeds.taken("detections.json"), kinds.JSON, lambda f: read_proposals(_the(f), SIZES)),
    Reader("VOC", lambda: seeds.below("voc"), kinds.TEXT, _voc),
    Reader("tables", seeds.tables, kinds.TEXT, _labels),
    Reader(
        "observations",
        lambda: seeds.files(".csv", "file_name,observation_id\na.jpg,3\n", seeds.VERDICTS),
        kinds.TEXT,
        _observations,
    ),
    Reader(
        "zip archives",
        lambda: seeds.files(".zip", formats.packed(seeds.ZIPPED)),
        (formats.zip_members(kinds.BYTES),) * 4 + kinds.BYTES,
        _archive,
    ),
    Reader("tar archives", lambda: seeds.files(".tar", seeds.tar()), formats.TAR, _archive),
    Reader("tar.gz archives", lambda: seeds.taken("archives/images.tar.gz"), formats.TAR_GZ, _archive),
    Reader("CUB's lists", lambda: [seeds.CUB], kinds.TEXT, _cub),
    Reader(
        "Aircraft's boxes",
        lambda: seeds.files(".txt", "0034309 3 144 998 431\n"),
        kinds.TEXT,
        lambda f: aircraft._boxes(_the(f)),
    ),
    Reader(
        "OxfordPet's list",
        lambda: seeds.files(".txt", "#Image\nbeagle_1 1 2 1\n"),
        kinds.TEXT,
        lambda f: oxford_pet.read_list(_the(f)),
    ),
    Reader("TinyImageNet's lists", lambda: [seeds.TINY], kinds.TEXT, _tiny),
    Reader(
        "WordNet",
        lambda: [{n: d for n, d in seeds.workspace_files().items() if "wordnet" in n or n == "synsets.txt"}],
        kinds.TEXT,
        _wordnet,
    ),
)
