"""A configuration: the options of a command line, a YAML file and a preset, merged and checked; YAML in, YAML out.

The command line takes precedence over `--config FILE.yaml`, the file over the data set's preset, and the preset over the
defaults. The options themselves are the rows of option_tables.py.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from munch import Munch

from option_tables import (
    CAM_CURVE_INTERVAL,
    EVALUATION,
    FOR_UNTRAINED,
    INFERENCE,
    LOG_ROOT,
    NOT_FOR_EXPORT,
    NOT_FOR_PHOTOS,
    NOT_FOR_SPLITS,
    training_groups,
)
from wsol.core import registry
from wsol.core.errors import InputError, OptionError, OptionName, did_you_mean, shortened
from wsol.core.files import check_folder, write_text
from wsol.core.flat_yaml import Value, dumped, read_flat_yaml
from wsol.core.machine import default_workers
from wsol.core.options import AUTO, Option, TableParser, by_name
from wsol.data.images import IMAGENETS, THE_NETWORKS
from wsol.data.truth import PSEUDO, TRUE
from wsol.methods.build import check_frozen
from wsol.runs.run_folder import MOST_NAME, NEVER
from wsol.runs.trackers import check_trackers

# Toy is small, and so are its network and images: plain `python main.py` takes about a minute on two cores.
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


def training_parser(description: str) -> TableParser:
    """Return the parser of main.py."""
    return TableParser(description, training_groups())


def evaluation_parser(description: str) -> TableParser:
    """Return the parser of evaluation.py; parse with `parse_options`."""
    return TableParser(description, EVALUATION)


def inference_parser(description: str) -> TableParser:
    """Return the parser of inference.py; parse with `parse_options`."""
    return TableParser(description, INFERENCE)


def parse_options(parser: TableParser, argv: Sequence[str] | None = None) -> Munch:
    """Return the options of a command as a mapping with attributes, defaults filled in."""
    return Munch({**parser.known_defaults, **vars(parser.parse_args(argv))})


def _without_null(texts: Value, default: object) -> str | list[str]:
    """Return an option's text or texts, or raise ValueError if one of them is null."""
    if isinstance(texts, str):
        return texts
    words = [text for text in texts or () if text is not None]
    if texts is None or len(words) < len(texts):
        raise ValueError(f"null is not allowed; without the line it is {default}")
    return words


def _read_yaml(path: str | os.PathLike, options: Mapping[str, Option]) -> dict:
    """Return the options of a YAML file, each read and checked by its row; null stands for a default of None."""
    known = [name for name in options if name != "config"]
    values: dict[str, object] = {}
    for name, texts in read_flat_yaml(path).items():
        if name not in known:
            hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
            raise InputError(f"{path}: unknown option {shortened(repr(name))}{hint}")
        default = options[name].initial
        if texts is None and default is None:
            values[name] = None
            continue
        try:
            values[name] = options[name].parse(_without_null(texts, default))
        except ValueError as error:
            shown = "null" if texts is None else repr(texts) if isinstance(texts, str) else f"[{', '.join(map(str, texts))}]"
            raise InputError(f"{path}: {name}: {shortened(shown)} is invalid ({error})") from None
    return values


def read_config(path: str | os.PathLike) -> Munch:
    """Return the options of a YAML file for main.py, with the right types; combinations are not checked.

    Raises:
        InputError: the file cannot be read, or an option is unknown or invalid.
    """
    return Munch(_read_yaml(path, by_name(training_groups())))


def training_defaults() -> dict[str, object]:
    """Return the default of every option of main.py, for what the configuration of an older run lacks."""
    return {name: option.initial for name, option in by_name(training_groups()).items()}


def get_config(argv: Sequence[str] | None = None, description: str = "") -> tuple[Munch, list[str]]:
    """Return (the checked configuration of main.py, messages for the log about it).

    Raises:
        InputError: an unknown key, a value out of range, an impossible combination, or a missing file.
    """
    parser = training_parser(description)
    given = vars(parser.parse_args(argv))
    if "config" in given:
        given = {**_read_yaml(given.pop("config"), parser.options), **given}
    defaults = {name: value for name, value in parser.known_defaults.items() if name != "config"}
    preset = PRESETS.get(given.get("dataset_name", defaults["dataset_name"]), {})
    config = Munch({**defaults, **preset, **given})
    if config.freeze_backbone:
        config |= {**registry.method_entry(config.wsol_method).when_frozen, **given}
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
    if "save_scoremaps" not in given and registry.method_entry(config.wsol_method).detects:
        config.save_scoremaps = "none"
    config.preprocessing = choose_preprocessing(config)
    check_config(config)
    return config, notes


def choose_preprocessing(config: Mapping) -> str:
    """Return the preprocessing that a configuration asks for, or the default for how its network is trained."""
    partly = config.get("freeze_backbone") or config.get("train_last_blocks") is not None
    return config.get("preprocessing") or (THE_NETWORKS if partly else IMAGENETS)


def get_inference_options(argv: Sequence[str] | None = None, description: str = "") -> Munch:
    """Return the checked options of inference.py.

    Raises:
        InputError: an unknown option, a value out of range, or an impossible combination.
    """
    parser = inference_parser(description)
    given = vars(parser.parse_args(argv))
    options = Munch({**parser.known_defaults, **given})
    _check_ranges(options, by_name(INFERENCE))
    if options.describe:
        return options
    modes = [name for name in ("images", "scoremap_root", "export") if options[name]]
    if len(modes) != 1:
        raise InputError(
            "expected one of ", OptionName("images"), " PHOTOS for boxes, ", OptionName("scoremap_root"),
            " FOLDER for the score maps of a split, ", OptionName("export"), " onnx, or ", OptionName("describe"), " FILE",
        )  # fmt: skip
    if not options.architecture:
        _require(bool(options.checkpoint), "checkpoint", "none", "a run's checkpoint")
    without = {"images": NOT_FOR_PHOTOS, "scoremap_root": NOT_FOR_SPLITS, "export": NOT_FOR_EXPORT}[modes[0]]
    for name in without:
        _require(name not in given, name, options[name], "not together with ", OptionName(modes[0]))
    if modes[0] != "scoremap_root":
        _require(options.output is not None, "output", "none", "where to write")
    if options.cam_agg_level:
        own = (f"{registry.OWN_MAPS} with ", OptionName("cam_agg_level"))
        _require(options.extractor == registry.OWN_MAPS, "extractor", options.extractor, *own)
    _check_untrained(options, given)
    on_photos = ("another one with ", OptionName("images"), ", since proposals are of a split's images")
    _require(not (options.images and options.refine == registry.PROPOSALS), "refine", options.refine, *on_photos)
    _check_refine(options)
    return options


def _check_untrained(options: Munch, given: Mapping) -> None:
    """Raise InputError if the options for a network without training are incomplete, or given beside a checkpoint."""
    if not options.architecture:
        for name in FOR_UNTRAINED:
            _require(name not in given, name, given.get(name), OptionName("architecture"), " with it, and no checkpoint")
        text_tower = (OptionName("architecture"), f" {registry.OPEN_CLIP_PREFIX}NAME/TAG with it, and no checkpoint")
        _require(options.extractor != registry.TEXT, "extractor", options.extractor, *text_tower)
        return
    name, extractor = options.architecture, options.extractor
    _require_alone(options, "architecture", ("checkpoint", "cam_agg_level", "map_level"))
    known = ", ".join(registry.WITHOUT_TRAINING)
    _require(extractor in registry.WITHOUT_TRAINING, "extractor", extractor, f"one of {known} without a checkpoint")
    of_clip = name.startswith(registry.OPEN_CLIP_PREFIX)
    if extractor == registry.TEXT:
        clip = f"{registry.OPEN_CLIP_PREFIX}NAME/TAG with "
        _require(of_clip, "architecture", name, clip, OptionName("extractor"), " text")
        _require("{name}" in (options.prompts or ""), "prompts", options.prompts or "none", "a text with {name} in it")
    else:
        _require(options.prompts is None, "prompts", options.prompts, OptionName("extractor"), " text with it")
    if not of_clip:
        _require_known_architecture(options)
    elif find_spec("open_clip") is None:
        raise OptionError("architecture", name, "open_clip is not installed; expected it, from: pip install -e '.[clip]'")
    _require(options.dataset_name is not None, "dataset_name", "none", "a data set with ", OptionName("architecture"))
    if options.pretrained_path:
        random = ("TRUE with ", OptionName("pretrained_path"))
        _require(options.pretrained, "pretrained", options.pretrained, *random)
        _require_file(options, "pretrained_path")


def _check_refine(options: Mapping) -> None:
    """Raise InputError if the options of a refiner do not fit each other."""
    snaps = options["refine"] == registry.PROPOSALS
    if options["proposals"]:
        _require(snaps, "proposals", options["proposals"], OptionName("refine"), " proposals with it")
        _require_file(options, "proposals")
    elif snaps:
        raise OptionError("refine", registry.PROPOSALS, "expected ", OptionName("proposals"), " FILE with it")
    if options["coco_images"] and not options.get("boxes"):
        or_boxes = (" FILE or ", OptionName("boxes")) if "boxes" in options else ()
        _require(snaps, "coco_images", options["coco_images"], OptionName("proposals"), *or_boxes, " FILE with it")


def check_saved_config(saved: Mapping, path: str) -> Munch:
    """Return a checkpoint's configuration, with the options that a model and its maps need checked as main.py does.

    Options that this version does not know are kept as they are.

    Raises:
        InputError: a value is invalid for its option; the message starts with `path`.
    """
    options = by_name(training_groups())
    source = f"{path}: config"
    config = Munch({**{name: option.initial for name, option in options.items()}, **saved})
    for name, value in saved.items():
        if name not in options or (value is None and options[name].default is None):
            continue
        try:
            config[name] = options[name].parse(list(map(str, value)) if isinstance(value, list) else str(value))
        except ValueError as error:
            raise InputError(f"{source}: {name}: {shortened(repr(value))} is invalid ({error})") from None
    try:
        _check_ranges(config, {name: options[name] for name in ("workers", "threads", "batch_size", "crop_size")})
        check_metric_options(config)
        registry.method_entry(config.wsol_method).check(config)
        _require_known_architecture(config)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    return Munch({name: config[name] for name in saved})


def _require(condition: bool, name: str, value: object, *expected: str) -> None:
    if not condition:
        raise OptionError(name, value, "expected ", *expected)


def _require_alone(config: Mapping, name: str, others: Iterable[str]) -> None:
    for other in others:
        value = config[other]
        given = " ".join(map(str, value)) if isinstance(value, list) else value
        _require(not (config[name] and value), other, given, "not together with ", OptionName(name))


def _require_file(config: Mapping, name: str) -> None:
    _require(os.path.isfile(config[name]), name, config[name], "a file")


def _check_ranges(config: Mapping, options: Mapping[str, Option]) -> None:
    for name, option in options.items():
        option.check(config[name])


def _require_known_architecture(config: Mapping) -> None:
    architecture, networks = config["architecture"], registry.names("architectures")
    known = architecture in networks or architecture.startswith(registry.TIMM_PREFIX)
    _require(known, "architecture", architecture, f"{', '.join(networks)} or timm:NAME")


def check_metric_options(config: Mapping) -> None:
    """Raise InputError if the thresholds do not define a metric; for main.py and evaluation.py."""
    CAM_CURVE_INTERVAL.check(config["cam_curve_interval"])
    ious = config["iou_threshold_list"]
    valid = all(0 < iou <= 100 for iou in ious) and len(set(ious)) == len(ious)
    _require(valid, "iou_threshold_list", ious, "unique percentages from 1 to 100")
    if not config["multi_iou_eval"]:
        reported = ("50 among them, the threshold reported without ", OptionName("multi_iou_eval"))
        _require(50 in ious, "iou_threshold_list", ious, *reported)


def check_evaluation_options(config: Mapping) -> None:
    """Raise InputError if values are out of range or options exclude each other; for evaluation.py."""
    _check_ranges(config, by_name(EVALUATION))
    check_metric_options(config)
    pseudo = config["select_on"] == PSEUDO and config["split"] != "val"
    _require(
        not pseudo, "select_on", PSEUDO, "true with ", OptionName("split"), f" {config['split']}; only val is selected on"
    )
    _require_alone(config, "center", ("boxes", "coco_images", "images_from"))
    _require_alone(config, "images_from", ("boxes", "map_size", "per_image", "analysis", "metrics"))
    _require_alone(config, "boxes", ("thresholds_from", "curve", "analysis", "metrics"))
    for name in config["metrics"] or ():
        known = registry.names("metrics")
        _require(name in known, "metrics", name, f"one or more of {', '.join(known)}{did_you_mean(name, known)}")
    for other in ("center", "boxes", "images_from"):
        _require_alone(config, other, ("refine",))
    _check_refine(config)
    if config["compare"]:
        unlike = config["boxes"] and config["compare"] == "center"
        _require(not unlike, "compare", config["compare"], "another file of boxes, with ", OptionName("boxes"))
        _require(config["bootstrap"] > 0, "bootstrap", config["bootstrap"], "1 or more with ", OptionName("compare"))
    if config["analysis"] or config["per_image"]:
        ious = config["iou_threshold_list"]
        needed = ("50 among them, for ", OptionName("analysis"), " and ", OptionName("per_image"))
        _require(50 in ious, "iou_threshold_list", ious, *needed)
    if config["map_size"] is not None:
        no_maps = config["center"] and config["compare"] in (None, "center")
        saved = ("saved maps to resize; Center's size is ", OptionName("center_size"))
        _require(not no_maps, "map_size", config["map_size"], *saved)


def check_cache(folder: str | None, image_root: str | os.PathLike, name: str = "cache_images") -> None:
    """Raise OptionError if the folder of the option `name` will not do for a cache: a file is in its way, or it is among the
    images.

    A folder that exists but is read-only will do: what is in it is used.
    """
    if folder is None:
        return
    if not os.path.isdir(folder):
        try:
            check_folder(folder)
        except InputError as error:
            raise OptionError(name, "", *error.parts, "; expected a folder, or a name for a new one") from None
    among = Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(image_root))
    _require(not among, name, folder, f"a folder outside {image_root}, which holds the images themselves")


def _check_name(name: str) -> None:
    """Raise InputError if a run's name leads outside train_log/, or is too long for the run to be set aside."""
    path = PurePosixPath(name)
    inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
    _require(inside, "experiment_name", repr(name), f"a name or relative path inside {LOG_ROOT}/")
    longest = max(len(os.fsencode(part)) for part in path.parts)
    expected = f"at most {MOST_NAME} bytes per name, since a replaced run is kept under a longer one"
    _require(longest <= MOST_NAME, "experiment_name", shortened(name), expected)


def _check_weights(config: Munch) -> None:
    """Raise InputError if the options for weights exclude each other, or a file is missing."""
    if config.pretrained_path:
        _require(config.pretrained, "pretrained", config.pretrained, "TRUE with ", OptionName("pretrained_path"))
        if config.resume == NEVER:  # else its weights are in a checkpoint, or the file is missed when it is read
            _require_file(config, "pretrained_path")
    if config.keep_classifier is True:
        random = ("auto or FALSE with ", OptionName("pretrained"), " FALSE")
        _require(config.pretrained, "keep_classifier", config.keep_classifier, *random)
    if config.wsolevaluation_checkpoint:
        _require_alone(config, "wsolevaluation_checkpoint", ("pretrained_path",))
        whole = ("not together with ", OptionName("wsolevaluation_checkpoint"))
        _require(config.keep_classifier is not True, "keep_classifier", config.keep_classifier, *whole)
        _require_file(config, "wsolevaluation_checkpoint")


def _check_full_supervision(config: Munch) -> None:
    """Raise InputError if an option makes no sense for a method that is trained on the masks or boxes of val."""
    name, method = config.wsol_method, registry.method_entry(config.wsol_method)
    if method.classifies:
        return
    of_method = f" with {name}, which "
    drawn = f"true{of_method}is trained on the true boxes or masks of val"
    _require(config.select_on == TRUE, "select_on", config.select_on, drawn)
    budget = (f"0{of_method}is trained on val; its number of images is ", OptionName("num_val_sample_per_class"))
    _require(not config.num_train_sample_per_class, "num_train_sample_per_class", config.num_train_sample_per_class, *budget)
    all_of_val = f"FALSE{of_method}is trained on val"
    _require(not config.proxy_training_set, "proxy_training_set", config.proxy_training_set, all_of_val)
    agnostic = f"none{of_method}tells no classes apart"
    _require(config.cam_agg_level is None, "cam_agg_level", config.cam_agg_level, agnostic)
    theirs = f"another method; wsolevaluation has no {name}"
    _require(not config.wsolevaluation_checkpoint, "wsol_method", name, theirs)
    if method.detects:
        boxes = f"none{of_method}gives boxes instead of maps"
        _require(config.save_scoremaps == "none", "save_scoremaps", config.save_scoremaps, boxes)
    if not config.fsl_val_share:
        unvalidated = ("last with ", OptionName("fsl_val_share"), " 0, which validates on no image")
        _require(config.eval_checkpoint_type == "last", "eval_checkpoint_type", config.eval_checkpoint_type, *unvalidated)
    if config.thresholds_from:
        own = (OptionName("fsl_val_share"), " 0 with it; otherwise the run chooses its own")
        _require(config.fsl_val_share == 0, "fsl_val_share", config.fsl_val_share, *own)
        no_maps = f"nothing{of_method}has no score maps"
        _require(not method.detects, "thresholds_from", config.thresholds_from, no_maps)
        _require_file(config, "thresholds_from")


def _check_cached_features(config: Munch) -> None:
    """Raise InputError if a network's features of an image are not the same in every epoch, or cannot be kept."""
    folder = config.cache_features
    if not folder:
        return
    name = "cache_features"
    _require(config.freeze_backbone, name, folder, "none without ", OptionName("freeze_backbone"), " TRUE")
    same = f"{config.resize_size}, as "
    uncropped = (same, OptionName("resize_size"), ", so that nothing is cropped at random, with ", OptionName(name))
    _require(config.resize_size == config.crop_size, "crop_size", config.crop_size, *uncropped)
    kept = [method for method in registry.names("methods") if registry.method_entry(method).features_alone]
    unkept = f"none with {config.wsol_method}, which needs the images themselves; it works with {', '.join(kept)}"
    _require(config.wsol_method in kept, name, folder, unkept)
    check_cache(folder, os.path.join(config.data_root, config.dataset_name), name)


def check_config(config: Munch) -> None:
    """Raise InputError if values are out of range, combinations impossible or files missing, before any work starts."""
    others = registry.method_options()  # a published command may have any values for other methods' options
    rows = by_name(training_groups()).items()
    _check_ranges(config, {name: option for name, option in rows if name in config and name not in others})
    registry.method_entry(config.wsol_method).check(config)
    check_metric_options(config)
    bigger = ("at least ", OptionName("crop_size"), f" {config.crop_size}")
    _require(config.resize_size >= config.crop_size, "resize_size", config.resize_size, *bigger)
    if config.coarsening:
        _require_alone(config, "coarsening", ("label_level",))
        _require_file(config, "coarsening")
    if config.save_scoremaps in ("test", "both"):
        untested = ("none or val with ", OptionName("eval_test"), " FALSE")
        _require(config.eval_test, "save_scoremaps", config.save_scoremaps, *untested)
    if config.compile:
        varying = f"FALSE with {config.wsol_method}, whose proposals differ in number from step to step"
        _require(not registry.method_entry(config.wsol_method).detects, "compile", config.compile, varying)
    _check_name(config.experiment_name)
    if config.resume not in (NEVER, AUTO):
        _require_file(config, "resume")
    _check_weights(config)
    _check_full_supervision(config)
    _require_known_architecture(config)
    check_trackers(config.logger)
    check_frozen(config.wsol_method, config.freeze_backbone, config.train_last_blocks)
    check_cache(config.cache_images, os.path.join(config.data_root, config.dataset_name))
    _check_cached_features(config)


def write_config(config: Mapping, path: str | os.PathLike, leave_out: Iterable[str] = ("override_cache", "resume")) -> None:
    """Write a configuration as YAML that `--config` accepts."""
    write_text(path, dumped({name: value for name, value in config.items() if name not in leave_out}))
