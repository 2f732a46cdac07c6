"""Every option: name, default, help and check. A configuration comes from the command line, a YAML file, a preset.

The command line wins over `--config FILE.yaml`, the file over the data set's preset, the preset over the defaults. The
names, meanings and defaults of wsolevaluation's options are theirs, so that a published command runs unchanged.
"""

import argparse
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath

import yaml
from munch import Munch

from wsol import registry
from wsol.arguments import Parser, folder_name, whole
from wsol.declared_size import MAX_MEGAPIXELS
from wsol.errors import InputError, did_you_mean, shortened
from wsol.files import write_text
from wsol.flat_yaml import read_flat_yaml
from wsol.machine import AUTO, default_workers
from wsol.run_folder import MOST_NAME
from wsol.score_maps import FORMATS
from wsol.val_thresholds import MIN_INTERVAL

LOG_ROOT = "train_log"
SCORING_INTERVAL = 0.01  # evaluation.py's
MAX_RESAMPLES = 10_000  # each holds sums over all score-map and IoU thresholds: 24 kB at 1,000 and 3
# The most of each: no image, machine or training has more, and what is beyond fails only after long work, or never.
MAX_SIDE = 10_000  # pixels: of crop_size, resize_size, center_size, map_size
MAX_BATCH = 100_000
MAX_WORKERS = 1_000
MAX_EPOCHS = 1_000_000
MAX_COUNT = 10**9  # of images per class, and of epochs between two decays
MAX_RATE = 1e6  # of lr, lr_classifier_ratio, weight_decay
MAX_SEED = 2**63 - 1
MAX_THREADS = 1_000
MAX_LIMIT = 1_000_000  # megapixels
AMP = ("off", "bf16", "fp16")
CAM_AGG = "CAM-Agg: map at this level, coarser than that trained at, with the mean map of all classes of an ancestor"
EXTRACTORS = tuple(name for name in registry.names("mappers") if name != registry.CAM_AGG)  # which has its own option
SAVE_SCOREMAPS = ("none", "val", "test", "both")

# Toy is small: a network and images to match, so that `python main.py` alone takes about a minute on two cores.
PRESETS = {
    "Toy": {
        "architecture": "resnet18",
        "pretrained": False,
        "large_feature_map": True,
        "resize_size": 72,
        "crop_size": 64,
        "batch_size": 8,
        "epochs": 4,
        "lr": 0.01,
        "lr_decay_frequency": 4,
        "lr_classifier_ratio": 1.0,
        "workers": default_workers(2),
    }
}


def boolean(text: str) -> bool:
    """Return the truth of true/false/yes/no/on/off/t/f/y/n/1/0 in any case."""
    if text.lower() in ("true", "yes", "on", "t", "y", "1"):
        return True
    if text.lower() in ("false", "no", "off", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(
        f"{shortened(ascii(text))} is neither true nor false (true/false, yes/no, on/off, t/f, y/n, 1/0)"
    )


def _auto_or(convert: Callable[[str], object], text: str) -> object:
    """Return "auto", in any case, or what another text stands for."""
    if text.lower() == AUTO:
        return AUTO
    try:
        return convert(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor {AUTO}") from None


auto_or_boolean = partial(_auto_or, boolean)
auto_or_count = partial(_auto_or, whole)


def _device(text: str) -> str:
    if text.lower() == AUTO:
        return AUTO
    if re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]{,2}))?", text):
        return text
    raise argparse.ArgumentTypeError(f"{shortened(ascii(text))} is no device; expected auto, cpu, cuda or cuda:N")


class _Group:
    """An argparse group whose options show their default; the defaults are kept apart, to see what was given."""

    def __init__(self, parser: Parser, title: str, description: str | None = None):
        self.parser, self.group = parser, parser.add_argument_group(title, description)

    def add(self, name: str, default: object, help_text: str, **options: object) -> None:
        if isinstance(default, bool):
            options = {"type": boolean, "nargs": "?", "const": True, "metavar": "BOOL", **options}
        shown = " ".join(map(str, default)) if isinstance(default, list) else default
        known = "" if default is None else f" (default: {shown})"
        self.group.add_argument(f"--{name}", default=argparse.SUPPRESS, help=help_text + known, **options)
        self.parser.known_defaults[name] = default


def _new_parser(description: str) -> Parser:
    parser = Parser(description)
    parser.known_defaults = {}
    return parser


def _add_roots(group: _Group) -> None:
    group.add("data_root", "dataset/", "folder of the images: <data_root>/<dataset_name>/<image id>")
    group.add("metadata_root", "metadata/", "folder of the metadata: <metadata_root>/<dataset_name>/<split>/")
    group.add("mask_root", "dataset/", "folder of the true masks: <mask_root>/<dataset_name>/<mask path>")


def _add_metric_options(group: _Group, interval: float | None, multi: bool) -> None:
    step = "step between score-map thresholds in [0, 1)"
    step += f" (default: {SCORING_INTERVAL:g}, or that of --thresholds_from)" if interval is None else ""
    group.add("cam_curve_interval", interval, step, type=float)
    group.add("multi_contour_eval", multi, "boxes of all contours of a thresholded map, not of the largest alone")
    group.add("multi_iou_eval", multi, "report the mean over the IoU thresholds, not the figure at IoU 50 alone")
    group.add("iou_threshold_list", [30, 50, 70], "IoU thresholds in percent", type=int, nargs="+", metavar="IOU")


def _add_scoremap_format(group: _Group) -> None:
    group.add(
        "scoremap_format",
        "npy",
        "kind of file of the maps: npy or npz (compressed), float64; png16 or png8, far smaller, boxes still exact",
        choices=tuple(FORMATS),
    )


def _add_max_megapixels(group: _Group, what: str) -> None:
    group.add("max_megapixels", MAX_MEGAPIXELS, f"{what} that declare more are refused, before they are decoded", type=float)


def _add_bootstrap(group: _Group) -> None:
    group.add("bootstrap", 1000, "resamples of the images for 95 percent intervals of every figure; 0: none", type=int)


def _add_machine_options(group: _Group) -> None:
    group.add("device", AUTO, "auto (a GPU where there is one), cpu, cuda or cuda:N", type=_device)
    group.add("amp", "off", "mixed precision: off, bf16 or fp16 (a GPU is needed for fp16)", choices=AMP)
    group.add("workers", default_workers(), "processes that load images; 0 loads in the main process", type=int)
    group.add(
        "threads",
        AUTO,
        "threads that compute, which change how sums are rounded; auto: OMP_NUM_THREADS, else one a core",
        type=auto_or_count,
        metavar="N",
    )
    group.add(
        "on_bad_image",
        "stop",
        "an image that cannot be read stops the run with its path, or is skipped and counted",
        choices=("stop", "skip"),
    )


def training_parser(description: str) -> Parser:
    """Return the parser of main.py."""
    parser = _new_parser(description)

    run = _Group(parser, "run")
    run.add("config", None, "YAML file of options by name; the command line wins over it", metavar="FILE")
    run.add("experiment_name", "test_case", f"results go to {LOG_ROOT}/<experiment_name>/")
    run.add("override_cache", False, "replace an experiment folder that exists; without it that is an error")
    run.add("seed", 0, "all randomness comes from it; the same seed gives the same result on a CPU", type=int)
    _add_machine_options(run)

    data = _Group(parser, "data")
    data.add("dataset_name", "Toy", "a data set of <metadata_root>; Toy is made on the spot", type=folder_name)
    _add_roots(data)
    data.add("label_level", None, "label level to train and map at, such as species or family (default: the finest)")
    data.add("coarsening", None, "CSV file class,k: every finest class moves k edges up the hierarchy", metavar="FILE")
    data.add("proxy_training_set", False, "train on the smaller list train/image_ids_proxy.txt")
    data.add("num_val_sample_per_class", 0, "validation images per class of the finest level; 0 takes all", type=int)
    data.add("num_train_sample_per_class", 0, "training images per class of the level trained on; 0 takes all", type=int)
    data.add("resize_size", 256, "training images are resized to a square of this many pixels", type=int)
    data.add("crop_size", 224, "side of the network's input: a random crop in training, else the image", type=int)

    model = _Group(parser, "model")
    networks = ", ".join(registry.ARCHITECTURES)
    model.add("architecture", "resnet50", f"{networks}, or timm:NAME for a network of the timm library")
    model.add("wsol_method", "cam", "how score maps are learnt", choices=tuple(registry.METHODS))
    model.add("large_feature_map", False, "one stride less, for a map twice as fine (28 instead of 14 for ResNet at 224)")
    model.add("pretrained", True, "start from ImageNet weights (downloaded, or --pretrained_path), not random ones")
    model.add("pretrained_path", None, "file of weights to start from (.pth, .pt, .tar, .safetensors)", metavar="FILE")
    model.add(
        "keep_classifier",
        AUTO,
        "start from the weights' own classifier too: TRUE, FALSE, or auto, where the original code does (resnet50 with a "
        "linear classifier on ILSVRC's 1000 classes) and for a checkpoint of a run of the same classes",
        type=auto_or_boolean,
        nargs="?",
        const=True,
        metavar="BOOL",
    )
    model.add(
        "wsolevaluation_checkpoint", None, "start from this checkpoint of wsolevaluation, not ImageNet's", metavar="FILE"
    )
    methods = _Group(parser, "methods", "what --wsol_method takes into account; the others' options are of no effect")
    for method in registry.methods().values():
        for option in method.options:
            methods.add(option.name, option.default, option.help, type=type(option.default))

    training = _Group(parser, "training", "SGD with Nesterov momentum")
    training.add("epochs", 40, "passes over the training images; 0 only evaluates", type=int)
    training.add("batch_size", 64, "images a step", type=int)
    training.add("lr", 0.01, "learning rate; the papers search it by powers of ten", type=float)
    training.add("lr_decay_frequency", 30, "lr is divided by 10 at the start of every epoch this divides", type=int)
    training.add("lr_classifier_ratio", 10.0, "times lr: the rate of the classifier and the last stage", type=float)
    training.add("momentum", 0.9, "0 (plain SGD) up to, not including, 1", type=float)
    training.add("weight_decay", 1e-4, "L2 penalty on all weights", type=float)

    metric = _Group(parser, "evaluation")
    metric.add("cam_agg_level", None, CAM_AGG, metavar="LEVEL")
    metric.add("box_v2_metric", True, "MaxBoxAccV2: sets both multi_ flags to its own value")
    _add_metric_options(metric, 0.001, True)
    metric.add(
        "eval_checkpoint_type", "last", "checkpoint for the final evaluation: last, or best on val", choices=("last", "best")
    )
    metric.add("eval_test", True, "evaluate on the test split, once, at the end")
    metric.add("save_scoremaps", "both", "splits whose final maps are saved", choices=SAVE_SCOREMAPS)
    _add_scoremap_format(metric)
    _add_max_megapixels(metric, "images and masks")
    _add_bootstrap(metric)
    return parser


def evaluation_parser(description: str) -> Parser:
    """Return the parser of evaluation.py; parse with `parse_options`."""
    parser = _new_parser(description)
    group = _Group(parser, "what to score")
    group.add("scoremap_root", "train_log/scoremaps/", "folder of the maps: <scoremap_root>/<image id>.npy, .npz or .png")
    group.add("dataset_name", "Toy", "a data set of <metadata_root>", type=folder_name)
    group.add("split", "val", "val or test; any split that has boxes or masks", type=folder_name)
    group.add("metadata_root", "metadata/", "folder of the metadata: <metadata_root>/<dataset_name>/<split>/")
    group.add("mask_root", "dataset/", "folder of the true masks: <mask_root>/<dataset_name>/<mask path>")
    group.add("image_list", None, "score only these images (a file of ids, one a line)", metavar="FILE")
    group.add("on_missing", "stop", "missing maps are an error, or are left out and counted", choices=("stop", "skip"))
    group.add("center", False, "score the Center baseline, a Gaussian in the middle, instead of saved maps")
    side = "side of the Center baseline's map in pixels (default: 224, or the size of the maps that it is compared with)"
    group.add("center_size", None, side, type=int)
    group.add("map_size", None, "resize every map to N x N bicubically and normalise it again", type=int, metavar="N")
    _add_max_megapixels(group, "maps and masks")
    group.add("boxes", None, "score a detector's boxes instead: COCO results, the best box of every image", metavar="FILE")
    group.add("coco_images", None, "COCO annotation file that names the numeric image ids of --boxes", metavar="FILE")
    group.add(
        "images_from", None, "score what a run kept of its images, <split>_images.npz, instead of maps", metavar="FILE"
    )
    group.add("workers", 0, "processes that read and score maps; 0: the main process alone", type=int)
    metric = _Group(parser, "metric")
    _add_metric_options(metric, None, False)
    metric.add(
        "thresholds_from",
        None,
        "also the accuracy at the score-map thresholds that val chose: a run's checkpoint or results.json, or --json of val",
        metavar="FILE",
    )
    metric.add("class_ranks", None, "a run's <split>_class_ranks.csv, for Top-1 and Top-5 Loc", metavar="FILE")
    _add_bootstrap(metric)
    metric.add("seed", 0, "of the resamples", type=int)
    metric.add(
        "compare",
        None,
        "paired test: other maps (a folder), a run's <split>_images.npz, the word center, or with --boxes another file",
        metavar="OTHER",
    )
    output = _Group(parser, "output", "tables are .csv or .parquet")
    output.add("json", None, "also write the results to this file", metavar="FILE")
    output.add("curve", None, "accuracy, or precision and recall, at every score-map threshold", metavar="FILE")
    output.add("per_class", None, "accuracy of every class of every label level", metavar="FILE")
    output.add("per_image", None, "every image's box at val's threshold, its IoU, the best IoU", metavar="FILE")
    output.add("analysis", False, "box area, activation and fragments of the maps (Cole et al., appendix 0.F.1)")
    return parser


def inference_parser(description: str) -> Parser:
    """Return the parser of inference.py; parse with `parse_options`."""
    parser = _new_parser(description)
    group = _Group(parser, "what to map")
    group.add("checkpoint", None, "a run's best_ or last_checkpoint.pth.tar", metavar="FILE", required=True)
    group.add("split", "val", "train, val or test", type=folder_name)
    group.add("scoremap_root", None, "folder for the maps; it must not hold any yet", metavar="FOLDER", required=True)
    _add_scoremap_format(group)
    group.add("dataset_name", None, "as in training where not given", type=folder_name)
    for name in ("data_root", "metadata_root"):
        group.add(name, None, "as in training where not given")
    group.add("image_list", None, "map only these images of the split (a file of ids, one a line)", metavar="FILE")
    group.add("cam_agg_level", None, f"{CAM_AGG}; as in training where not given", metavar="LEVEL")
    group.add(
        "extractor", registry.OWN_MAPS, "how maps are made: the method's own way, or one of torchcam's", choices=EXTRACTORS
    )
    group.add("batch_size", None, "images at a time; as in training where not given", type=int)
    _add_machine_options(_Group(parser, "machine"))
    return parser


def parse_options(parser: Parser, argv: Sequence[str] | None = None) -> Munch:
    """Return the options of a command as a mapping with attributes, defaults filled in."""
    return Munch({**parser.known_defaults, **vars(parser.parse_args(argv))})


def _read_yaml(path: str, parser: Parser) -> dict:
    """Return the options of a YAML file, each through its option's own type and choices; null: an option's default None."""
    known = [name for name in parser.known_defaults if name != "config"]
    values = {}
    for name, texts in read_flat_yaml(path).items():
        if name not in known:
            hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
            raise InputError(f"{path}: unknown option {shortened(repr(name))}{hint}")
        if texts is None and parser.known_defaults[name] is None:
            values[name] = None
            continue
        try:
            if texts is None or (isinstance(texts, list) and None in texts):
                raise ValueError(f"no null; without the line it is {parser.known_defaults[name]}")
            values[name] = parser.read(name, texts)
        except ValueError as error:
            shown = "null" if texts is None else repr(texts) if isinstance(texts, str) else f"[{', '.join(map(str, texts))}]"
            raise InputError(f"{path}: {name}: {shortened(shown)} does not fit ({error})") from None
    return values


def read_config(path: str | os.PathLike) -> Munch:
    """Return the options of a YAML file that main.py wrote or takes, of the right types but not checked together."""
    return Munch(_read_yaml(path, training_parser("")))


def get_config(argv: Sequence[str] | None = None, description: str = "") -> tuple[Munch, list[str]]:
    """Return (the checked configuration of main.py, what a log should say about it).

    Raises:
        InputError: an unknown key, a value out of range, an impossible combination, a missing file.
    """
    parser = training_parser(description)
    given = vars(parser.parse_args(argv))
    if "config" in given:
        given = {**_read_yaml(given.pop("config"), parser), **given}
    defaults = {name: value for name, value in parser.known_defaults.items() if name != "config"}
    preset = PRESETS.get(given.get("dataset_name", defaults["dataset_name"]), {})
    config = Munch({**defaults, **preset, **given})
    notes = []
    if used := {name: value for name, value in preset.items() if name not in given}:
        settings = ", ".join(f"{name} {value}" for name, value in used.items())
        notes.append(f"{config.dataset_name}'s own preset: {settings}")
    for name in ("multi_contour_eval", "multi_iou_eval"):
        if name in given and given[name] != config.box_v2_metric:
            notes.append(f"--{name} {given[name]} has no effect: --box_v2_metric {config.box_v2_metric} sets it")
        config[name] = config.box_v2_metric
    if "save_scoremaps" not in given and not config.eval_test:
        config.save_scoremaps = "val"
    check_config(config)
    return config, notes


def check_saved_config(saved: Mapping, path: str) -> Munch:
    """Return the configuration that a checkpoint holds, what a model and its maps need of it checked as main.py checks it;
    options that this version does not know are kept as they are.

    Raises:
        InputError: a value that its option would not take; the message starts with `path`.
    """
    parser = training_parser("")
    source = f"{path}: config"
    config = Munch({**parser.known_defaults, **saved})
    for name, value in saved.items():
        if name not in parser.known_defaults or (value is None and parser.known_defaults[name] is None):
            continue
        try:
            config[name] = parser.read(name, list(map(str, value)) if isinstance(value, list) else str(value))
        except ValueError as error:
            raise InputError(f"{source}: {name}: {shortened(repr(value))} does not fit ({error})") from None
    try:
        check_metric_options(config)
        check_machine_options(config)
        _require_range(config, "crop_size", 1, MAX_SIDE)
        registry.load(registry.METHODS[config.wsol_method]).check_options(config)
        _require_known_architecture(config)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    return Munch({name: config[name] for name in saved})


def _require_known_architecture(config: Mapping) -> None:
    known = config["architecture"] in registry.ARCHITECTURES or config["architecture"].startswith(registry.TIMM_PREFIX)
    networks = ", ".join(registry.ARCHITECTURES)
    _require(known, "architecture", config["architecture"], f"{networks} or timm:NAME")


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise InputError(f"--{name} {value}: expected {expected}")


def _require_range(config: Mapping, name: str, low: float, high: float) -> None:
    value = config[name]
    _require(value >= low, name, value, f"{low} or more")  # NaN is not
    _require(value <= high, name, value, f"{high} or less")


def check_metric_options(config: Mapping) -> None:
    """Refuse thresholds that make no metric; for main.py and evaluation.py."""
    interval, ious = config["cam_curve_interval"], config["iou_threshold_list"]
    _require(0 < interval <= 1, "cam_curve_interval", interval, "more than 0, at most 1")
    _require(interval >= MIN_INTERVAL, "cam_curve_interval", interval, f"{MIN_INTERVAL:g} or more")
    valid = all(0 < iou <= 100 for iou in ious) and len(set(ious)) == len(ious)
    _require(valid, "iou_threshold_list", ious, "percentages from 1 to 100, each once")
    if not config["multi_iou_eval"]:
        _require(50 in ious, "iou_threshold_list", ious, "50 among them, which is reported without --multi_iou_eval")


def _require_alone(config: Mapping, name: str, others: Iterable[str]) -> None:
    for other in others:
        _require(not (config[name] and config[other]), other, config[other], f"not together with --{name}")


def check_evaluation_options(config: Mapping) -> None:
    """Refuse values out of range and options that exclude each other; for evaluation.py."""
    check_metric_options(config)
    _require_range(config, "center_size", 1, MAX_SIDE)
    _require_range(config, "workers", 0, MAX_WORKERS)
    _require_range(config, "bootstrap", 0, MAX_RESAMPLES)
    _require_range(config, "seed", 0, MAX_SEED)
    _require_alone(config, "center", ("boxes", "coco_images", "images_from"))
    _require_alone(config, "images_from", ("boxes", "map_size", "per_image", "analysis"))
    _require_alone(config, "boxes", ("thresholds_from", "curve", "analysis"))
    if config["coco_images"]:
        _require(bool(config["boxes"]), "coco_images", config["coco_images"], "--boxes FILE with it")
    if config["compare"]:
        unlike = config["boxes"] and config["compare"] == "center"
        _require(not unlike, "compare", config["compare"], "another file of boxes, with --boxes")
        _require(config["bootstrap"] > 0, "bootstrap", config["bootstrap"], "1 or more with --compare")
    if config["analysis"] or config["per_image"]:
        ious = config["iou_threshold_list"]
        _require(50 in ious, "iou_threshold_list", ious, "50 among them, for --analysis and --per_image")
    _check_map_sizes(config)


def _check_map_sizes(config: Mapping) -> None:
    check_max_megapixels(config)
    if config["map_size"] is not None:
        size = config["map_size"]
        _require_range(config, "map_size", 1, MAX_SIDE)
        _require_alone(config, "boxes", ("map_size",))
        no_maps = config["center"] and config["compare"] in (None, "center")
        _require(not no_maps, "map_size", size, "saved maps to resize; Center's size is --center_size")


def check_max_megapixels(config: Mapping) -> None:
    """Refuse a limit that is none; for main.py and evaluation.py."""
    limit = config["max_megapixels"]
    _require(0 < limit <= MAX_LIMIT, "max_megapixels", limit, f"more than 0, at most {MAX_LIMIT}")


def check_machine_options(config: Mapping) -> None:
    """Refuse what no machine has; for main.py and inference.py."""
    _require_range(config, "workers", 0, MAX_WORKERS)
    if config["threads"] != AUTO:
        _require_range(config, "threads", 1, MAX_THREADS)
    if config["batch_size"] is not None:
        _require_range(config, "batch_size", 1, MAX_BATCH)


def check_inference_options(options: Mapping) -> None:
    """Refuse what inference.py cannot do."""
    check_machine_options(options)
    if options["cam_agg_level"]:
        own = f"{registry.OWN_MAPS} with --cam_agg_level"
        _require(options["extractor"] == registry.OWN_MAPS, "extractor", options["extractor"], own)


def check_config(config: Munch) -> None:
    """Refuse values out of range, impossible combinations and missing files, before any work starts."""
    check_metric_options(config)
    check_machine_options(config)
    _require(0 <= config.seed < 2**63, "seed", config.seed, "0 or more, less than 2**63")
    ranges = {"epochs": (0, MAX_EPOCHS), "lr_decay_frequency": (1, MAX_COUNT), "bootstrap": (0, MAX_RESAMPLES)}
    ranges |= {"crop_size": (1, MAX_SIDE), "resize_size": (1, MAX_SIDE), "weight_decay": (0, MAX_RATE)}
    ranges |= dict.fromkeys(("num_val_sample_per_class", "num_train_sample_per_class"), (0, MAX_COUNT))
    for name, (low, high) in ranges.items():
        _require_range(config, name, low, high)
    for name in ("lr", "lr_classifier_ratio"):
        _require(0 < config[name] <= MAX_RATE, name, config[name], f"more than 0, at most {MAX_RATE:g}")
    _require(0 <= config.momentum < 1, "momentum", config.momentum, "0 or more, less than 1")
    bigger = f"at least --crop_size {config.crop_size}"
    _require(config.resize_size >= config.crop_size, "resize_size", config.resize_size, bigger)
    if config.coarsening:
        _require(not config.label_level, "label_level", config.label_level, "not together with --coarsening")
        _require(os.path.isfile(config.coarsening), "coarsening", config.coarsening, "a file")
    if config.pretrained_path:
        _require(config.pretrained, "pretrained", config.pretrained, "TRUE with --pretrained_path")
        _require(os.path.isfile(config.pretrained_path), "pretrained_path", config.pretrained_path, "a file")
    if config.save_scoremaps in ("test", "both"):
        _require(config.eval_test, "save_scoremaps", config.save_scoremaps, "none or val with --eval_test FALSE")
    name = PurePosixPath(config.experiment_name)
    _require(
        bool(name.parts) and not name.is_absolute() and ".." not in name.parts,
        "experiment_name",
        repr(config.experiment_name),
        f"a name or relative path inside {LOG_ROOT}/",
    )
    longest = max(len(os.fsencode(part)) for part in name.parts)
    expected = f"at most {MOST_NAME} bytes a name: a run that is replaced is kept under a longer one"
    _require(longest <= MOST_NAME, "experiment_name", shortened(config.experiment_name), expected)
    registry.load(registry.METHODS[config.wsol_method]).check_options(config)  # a published command carries the others' too
    if config.keep_classifier is True:
        _require(config.pretrained, "keep_classifier", config.keep_classifier, "auto or FALSE with --pretrained FALSE")
    if config.wsolevaluation_checkpoint:
        _require_alone(config, "wsolevaluation_checkpoint", ("pretrained_path",))
        expected = "not together with --wsolevaluation_checkpoint"
        _require(config.keep_classifier is not True, "keep_classifier", config.keep_classifier, expected)
        path = config.wsolevaluation_checkpoint
        _require(os.path.isfile(path), "wsolevaluation_checkpoint", path, "a file")
    check_max_megapixels(config)
    _require_known_architecture(config)


def write_config(config: Mapping, path: str | os.PathLike, leave_out: Iterable[str] = ("override_cache",)) -> None:
    """Write a configuration as YAML that `--config` takes."""
    plain = {name: value for name, value in config.items() if name not in leave_out}
    write_text(path, yaml.safe_dump(plain, sort_keys=False, default_flow_style=None))
