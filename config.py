"""Every option: name, default, help and check. A configuration comes from the command line, a YAML file, a preset.

The command line wins over `--config FILE.yaml`, the file over the data set's preset, the preset over the defaults. The
names, meanings and defaults of wsolevaluation's options are theirs, so that a published command runs unchanged.
"""

import argparse
import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import yaml
from munch import Munch

from wsol import registry
from wsol.declared_size import MAX_MEGAPIXELS
from wsol.errors import InputError
from wsol.files import write_text
from wsol.score_maps import FORMATS

LOG_ROOT = "train_log"
SCORING_INTERVAL = 0.01  # evaluation.py's
MIN_INTERVAL = 1e-5  # a map has 256 levels; the original's finest is 0.001
MAX_RESAMPLES = 10_000  # each holds sums over all score-map and IoU thresholds: 24 kB at 1,000 and 3
MAX_CENTER_SIZE = 10_000
MAX_LIMIT = 1_000_000  # megapixels
AMP = ("off", "bf16", "fp16")
CAM_AGG = "CAM-Agg: map at this level, coarser than that trained at, with the mean map of all classes of an ancestor"
OWN_MAPS = "method"
EXTRACTORS = (OWN_MAPS, "gradcam", "gradcam++", "xgradcam", "layercam", "scorecam")
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
        "workers": 2,
    }
}


def boolean(text: str) -> bool:
    """Return the truth of true/false/yes/no/t/f/y/n/1/0 in any case."""
    if text.lower() in ("true", "yes", "t", "y", "1"):
        return True
    if text.lower() in ("false", "no", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false (true/false, yes/no, t/f, y/n, 1/0)")


def _device(text: str) -> str:
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is no device; expected auto, cpu, cuda or cuda:N")


class _Group:
    """An argparse group whose options show their default; the defaults are kept apart, to see what was given."""

    def __init__(self, parser: argparse.ArgumentParser, title: str, description: str | None = None):
        self.parser, self.group = parser, parser.add_argument_group(title, description)

    def add(self, name: str, default: object, help_text: str, **options: object) -> None:
        if isinstance(default, bool):
            options = {"type": boolean, "nargs": "?", "const": True, "metavar": "BOOL", **options}
        shown = " ".join(map(str, default)) if isinstance(default, list) else default
        known = "" if default is None else f" (default: {shown})"
        self.group.add_argument(f"--{name}", default=argparse.SUPPRESS, help=help_text + known, **options)
        self.parser.known_defaults[name] = default


def _new_parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
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
    group.add("device", "auto", "auto (a GPU where there is one), cpu, cuda or cuda:N", type=_device)
    group.add("amp", "off", "mixed precision: off, bf16 or fp16 (a GPU is needed for fp16)", choices=AMP)
    group.add("workers", 4, "processes that load images; 0 loads in the main process", type=int)
    group.add(
        "on_bad_image",
        "stop",
        "an image that cannot be read stops the run with its path, or is skipped and counted",
        choices=("stop", "skip"),
    )


def training_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of main.py."""
    parser = _new_parser(description)

    run = _Group(parser, "run")
    run.add("config", None, "YAML file of options by name; the command line wins over it", metavar="FILE")
    run.add("experiment_name", "test_case", f"results go to {LOG_ROOT}/<experiment_name>/")
    run.add("override_cache", False, "replace an experiment folder that exists; without it that is an error")
    run.add("seed", 0, "all randomness comes from it; the same seed gives the same result on a CPU", type=int)
    _add_machine_options(run)

    data = _Group(parser, "data")
    data.add("dataset_name", "Toy", "a data set of <metadata_root>; Toy is made on the spot")
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
    model.add("keep_classifier", False, "start from the weights' own classifier too, where the classes are ImageNet's 1000")
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
    _add_max_megapixels(metric, "masks")
    _add_bootstrap(metric)
    return parser


def evaluation_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of evaluation.py; parse with `parse_options`."""
    parser = _new_parser(description)
    group = _Group(parser, "what to score")
    group.add("scoremap_root", "train_log/scoremaps/", "folder of the maps: <scoremap_root>/<image id>.npy, .npz or .png")
    group.add("dataset_name", "Toy", "a data set of <metadata_root>")
    group.add("split", "val", "val or test; any split that has boxes or masks")
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
        "paired test against other maps (a folder), the word center, or with --boxes another file",
        metavar="OTHER",
    )
    output = _Group(parser, "output", "tables are .csv or .parquet")
    output.add("json", None, "also write the results to this file", metavar="FILE")
    output.add("curve", None, "accuracy, or precision and recall, at every score-map threshold", metavar="FILE")
    output.add("per_class", None, "accuracy of every class of every label level", metavar="FILE")
    output.add("per_image", None, "every image's box at val's threshold, its IoU, the best IoU", metavar="FILE")
    output.add("analysis", False, "box area, activation and fragments of the maps (Cole et al., appendix 0.F.1)")
    return parser


def inference_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of inference.py; parse with `parse_options`."""
    parser = _new_parser(description)
    group = _Group(parser, "what to map")
    group.add("checkpoint", None, "a run's best_ or last_checkpoint.pth.tar", metavar="FILE", required=True)
    group.add("split", "val", "train, val or test")
    group.add("scoremap_root", None, "folder for the maps; it must not hold any yet", metavar="FOLDER", required=True)
    _add_scoremap_format(group)
    for name in ("dataset_name", "data_root", "metadata_root"):
        group.add(name, None, "as in training where not given")
    group.add("image_list", None, "map only these images of the split (a file of ids, one a line)", metavar="FILE")
    group.add("cam_agg_level", None, f"{CAM_AGG}; as in training where not given", metavar="LEVEL")
    group.add("extractor", OWN_MAPS, "how maps are made: the method's own way, or one of torchcam's", choices=EXTRACTORS)
    group.add("batch_size", None, "images at a time; as in training where not given", type=int)
    _add_machine_options(_Group(parser, "machine"))
    return parser


def parse_options(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> Munch:
    """Return the options of a command as a mapping with attributes, defaults filled in."""
    return Munch({**parser.known_defaults, **vars(parser.parse_args(argv))})


def _read_yaml(path: str, parser: argparse.ArgumentParser) -> dict:
    """Return the options of a YAML file, each through its option's own type and choices."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a readable YAML file ({error})") from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: expected lines of 'option: value'")
    actions = {action.dest: action for action in parser._actions if action.dest not in ("help", "config")}
    values = {}
    for key, value in content.items():
        if key not in actions:
            close = difflib.get_close_matches(str(key), actions, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; known: {', '.join(actions)}"
            raise InputError(f"{path}: unknown option {key!r}{hint}")
        if value is None and parser.known_defaults[key] is None:
            continue
        action = actions[key]
        if isinstance(value, bool) and action.choices:
            value = "on" if value else "off"  # YAML 1.1 reads the plain word off as false
        items = value if isinstance(value, list) else [value]
        try:
            if isinstance(value, list) != (action.nargs == "+") or any(isinstance(i, list | dict) for i in items):
                raise ValueError("a list" if action.nargs == "+" else "a single value")
            items = [(action.type or str)(str(item)) for item in items]
            if action.choices and items[0] not in action.choices:
                raise ValueError(f"one of {', '.join(action.choices)}")
        except (ValueError, argparse.ArgumentTypeError) as error:
            raise InputError(f"{path}: {key}: {value!r} does not fit ({error})") from None
        values[key] = items if action.nargs == "+" else items[0]
    return values


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


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise InputError(f"--{name} {value}: expected {expected}")


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
    for name, low in {"center_size": 1, "workers": 0, "bootstrap": 0, "seed": 0}.items():
        _require(config[name] >= low, name, config[name], f"{low} or more")
    for name, high in {"center_size": MAX_CENTER_SIZE, "bootstrap": MAX_RESAMPLES}.items():
        _require(config[name] <= high, name, config[name], f"{high} or less")
    _require_alone(config, "center", ("boxes", "coco_images"))
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
        _require(1 <= size <= MAX_CENTER_SIZE, "map_size", size, f"1 to {MAX_CENTER_SIZE}")
        _require_alone(config, "boxes", ("map_size",))
        no_maps = config["center"] and config["compare"] in (None, "center")
        _require(not no_maps, "map_size", size, "saved maps to resize; Center's size is --center_size")


def check_max_megapixels(config: Mapping) -> None:
    """Refuse a limit that is none; for main.py and evaluation.py."""
    limit = config["max_megapixels"]
    _require(0 < limit <= MAX_LIMIT, "max_megapixels", limit, f"more than 0, at most {MAX_LIMIT}")


def check_machine_options(config: Mapping) -> None:
    """Refuse what no machine has; for main.py and inference.py."""
    _require(config["workers"] >= 0, "workers", config["workers"], "0 or more")
    batch_size = config["batch_size"]
    _require(batch_size is None or batch_size >= 1, "batch_size", batch_size, "1 or more")


def check_inference_options(options: Mapping) -> None:
    """Refuse what inference.py cannot do."""
    check_machine_options(options)
    if options["cam_agg_level"]:
        own = f"{OWN_MAPS} with --cam_agg_level"
        _require(options["extractor"] == OWN_MAPS, "extractor", options["extractor"], own)


def check_config(config: Munch) -> None:
    """Refuse values out of range, impossible combinations and missing files, before any work starts."""
    check_metric_options(config)
    check_machine_options(config)
    _require(config.bootstrap <= MAX_RESAMPLES, "bootstrap", config.bootstrap, f"{MAX_RESAMPLES} or less")
    _require(0 <= config.seed < 2**63, "seed", config.seed, "0 or more, less than 2**63")
    at_least = {"epochs": 0, "lr_decay_frequency": 1, "crop_size": 1}
    at_least |= {"bootstrap": 0, "num_val_sample_per_class": 0, "num_train_sample_per_class": 0, "weight_decay": 0}
    for name, low in at_least.items():
        _require(config[name] >= low, name, config[name], f"{low} or more")
    for name in ("lr", "lr_classifier_ratio"):
        _require(0 < config[name] < float("inf"), name, config[name], "more than 0")
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
    registry.load(registry.METHODS[config.wsol_method]).check_options(config)  # a published command carries the others' too
    if config.wsolevaluation_checkpoint:
        _require_alone(config, "wsolevaluation_checkpoint", ("pretrained_path", "keep_classifier"))
        path = config.wsolevaluation_checkpoint
        _require(os.path.isfile(path), "wsolevaluation_checkpoint", path, "a file")
    check_max_megapixels(config)
    known = config.architecture in registry.ARCHITECTURES or config.architecture.startswith(registry.TIMM_PREFIX)
    _require(known, "architecture", config.architecture, f"{', '.join(registry.ARCHITECTURES)} or timm:NAME")


def write_config(config: Mapping, path: str | os.PathLike, leave_out: Iterable[str] = ("override_cache",)) -> None:
    """Write a configuration as YAML that `--config` takes."""
    plain = {name: value for name, value in config.items() if name not in leave_out}
    write_text(path, yaml.safe_dump(plain, sort_keys=False, default_flow_style=None))
