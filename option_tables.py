"""Every option of main.py, evaluation.py and inference.py, one row each, in the order of the help and of config.yaml.

Options of wsolevaluation keep their names, meanings and defaults, so that published commands run unchanged.
"""

import argparse
import re
from dataclasses import replace

from wsol.core import registry
from wsol.core.arguments import folder_name, name, number, whole
from wsol.core.declared_size import MAX_MEGAPIXELS
from wsol.core.errors import shortened
from wsol.core.machine import default_workers
from wsol.core.options import AUTO, Group, Option, Range, boolean
from wsol.data.images import DECODE_SCALES, FULL, PREPROCESSINGS, THE_NETWORKS
from wsol.data.levels import SAMPLE_LEVELS, TRAINED
from wsol.data.truth import SOURCES, TRUE
from wsol.maps.score_maps import FORMATS
from wsol.metrics.split_evaluator import MIN_INTERVAL
from wsol.runs.run_folder import NEVER
from wsol.runs.trackers import NONE, TRACKERS

LOG_ROOT = "train_log"
SCORING_INTERVAL = 0.01  # the default of evaluation.py
EXTRACTORS = tuple(name for name in registry.names("mappers") if name != registry.CAM_AGG)  # CAM-Agg has its own option

# The limits are beyond any real image, machine or training; larger values would fail only after long work, or never.
SIDE = Range(1, 10_000)  # pixels
BATCH = Range(1, 100_000)
WORKERS = Range(0, 1_000)
THREADS = Range(1, 1_000)
COUNT = Range(0, 10**9)  # of images per class
DECAY = Range(1, 10**9)  # epochs
RATE = Range(0, 1e6, open_low=True)
SEED = Range(0, 2**63, open_high=True, words="0 or more, less than 2**63")
RESAMPLES = Range(0, 10_000)  # each holds sums for all score-map and IoU thresholds: 24 kB for 1,000 and 3


def _device(text: str) -> str:
    if text.lower() == AUTO:
        return AUTO
    if re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]{,2}))?", text):
        return text
    raise argparse.ArgumentTypeError(f"{shortened(ascii(text))} is not a device; expected auto, cpu, cuda or cuda:N")


_DATA_ROOT = Option("data_root", "dataset/", "folder of the images: <data_root>/<dataset_name>/<image id>")
_METADATA_ROOT = Option("metadata_root", "metadata/", "folder of the metadata: <metadata_root>/<dataset_name>/<split>/")
_MASK_ROOT = Option("mask_root", "dataset/", "folder of the true masks: <mask_root>/<dataset_name>/<mask path>")
_SCOREMAP_FORMAT = Option(
    "scoremap_format",
    "npy",
    "file format of the maps: npy or npz (compressed), float64; png16 or png8, far smaller, boxes still exact",
    choices=tuple(FORMATS),
)
_BOOTSTRAP = Option(
    "bootstrap", 1000, "resamples of the images for 95 percent intervals of every figure; 0: no intervals", range=RESAMPLES
)
_REFINE = (
    Option(
        "refine",
        None,
        f"refine normalised maps by the image: {', '.join(registry.names('refiners'))}",
        choices=registry.names("refiners"),
    ),
    Option(
        "proposals",
        None,
        "boxes or segmentations for --refine proposals, any number for each image: COCO results or annotations",
        metavar="FILE",
    ),
)
_MAP_LEVEL = "of several levels learned at once, the one whose maps are used, or mean: the first, with the mean of all maps"
_CAM_AGG = "CAM-Agg: map at this level, coarser than the one trained at, by the mean map of an ancestor's classes"
_DECODE_SCALE = Option(
    "decode_scale",
    FULL,
    "full, or reduced: decode large JPEGs at 1/2, 1/4 or 1/8 of their size; faster, but the pixels differ slightly",
    choices=DECODE_SCALES,
)
_MACHINE = (
    Option("device", AUTO, "auto (a GPU if there is one), cpu, cuda or cuda:N", _device),
    Option(
        "amp",
        "off",
        "mixed precision: off, bf16, fp16 (on a GPU), or auto: the fastest of a few steps, measured before the start",
        choices=("off", "bf16", "fp16", AUTO),
        auto=True,
    ),
    Option("tf32", False, "GPUs compute float32 convolutions and matrix products in TF32, faster and less exact"),
    Option("workers", default_workers(), "processes that load images; 0 loads in the main process", range=WORKERS),
    Option("cache_images", None, "keep the resized images in this folder, for later epochs and runs", metavar="DIR"),
    Option(
        "threads",
        AUTO,
        "threads that compute; their number changes how sums are rounded; auto: OMP_NUM_THREADS, else one per core",
        whole,
        range=THREADS,
        metavar="N",
        auto=True,
    ),
    Option(
        "on_bad_image",
        "stop",
        "an image that cannot be read stops the run and is named, or is skipped and counted",
        choices=("stop", "skip"),
    ),
)


CAM_CURVE_INTERVAL = Option(
    "cam_curve_interval", 0.001, "step between score-map thresholds in [0, 1)", range=Range(MIN_INTERVAL, 1)
)


def max_megapixels(what: str) -> Option:
    """Return the option that limits the size of the files that a command decodes; `what` names them in the help."""
    help_text = f"{what} that declare more are refused before they are decoded"
    return Option("max_megapixels", MAX_MEGAPIXELS, help_text, range=Range(0, 1_000_000, open_low=True))


def _metric(multi: bool) -> tuple[Option, ...]:
    return (
        Option("multi_contour_eval", multi, "boxes of all contours of a thresholded map, not only of the largest"),
        Option("multi_iou_eval", multi, "report the mean over the IoU thresholds, not the accuracy at IoU 50"),
        Option("iou_threshold_list", (30, 50, 70), "IoU thresholds in percent", whole, metavar="IOU", several=True),
    )


_RUN = (
    Option("config", None, "YAML file of options by name; the command line takes precedence", metavar="FILE"),
    Option("experiment_name", "test_case", f"results go to {LOG_ROOT}/<experiment_name>/"),
    Option("override_cache", False, "replace an existing experiment folder; otherwise an existing folder is an error"),
    Option(
        "resume",
        NEVER,
        "continue a stopped run: auto, from its last checkpoint, or start if there is none; or from this checkpoint",
        metavar="never|auto|FILE",
    ),
    Option(
        "checkpoint_minutes",
        15.0,
        "also write a checkpoint within an epoch when the last one is older than this; 0: only after every epoch",
        range=Range(0, 1e6),
    ),
    Option("seed", 0, "source of all randomness; the same seed gives the same result on a CPU", range=SEED),
    *_MACHINE,
    Option(
        "logger",
        (NONE,),
        "also log figures, learning rates and example maps; several may be given (each an extra to install)",
        choices=(NONE, *TRACKERS),
        several=True,
        read=name,
    ),
)
_DATA = (
    Option("dataset_name", "Toy", "a data set in <metadata_root>; Toy is generated when needed", folder_name),
    _DATA_ROOT,
    _METADATA_ROOT,
    _MASK_ROOT,
    Option(
        "label_level",
        None,
        "label level to train and map at, such as species or family (default: the finest); several with commas, such as "
        "species,family, are learned at once",
    ),
    Option(
        "level_weights",
        None,
        "weights of the losses of several levels, which are made to sum to 1 (default: equal)",
        number,
        RATE,
        metavar="W",
        several=True,
    ),
    Option("coarsening", None, "CSV file class,k: every finest class moves k edges up the hierarchy", metavar="FILE"),
    Option("proxy_training_set", False, "train on the smaller list train/image_ids_proxy.txt"),
    Option("num_val_sample_per_class", 0, "validation images per class of the finest level; 0 takes all", range=COUNT),
    Option("num_train_sample_per_class", 0, "training images per class of --train_sample_level; 0 takes all", range=COUNT),
    Option(
        "train_sample_level",
        TRAINED,
        "whose classes --num_train_sample_per_class counts: the level trained at, or the finest, which draws the "
        "same images for every level",
        choices=SAMPLE_LEVELS,
    ),
    Option("resize_size", 256, "training images are resized to a square of this many pixels", range=SIDE),
    Option("crop_size", 224, "side of the network's input: a random crop in training, else the whole image", range=SIDE),
    _DECODE_SCALE,
)
_WEIGHTS = (
    Option("large_feature_map", False, "remove one stride, for a map twice as fine (28 instead of 14 for ResNet at 224)"),
    Option("pretrained", True, "start from ImageNet weights (downloaded, or --pretrained_path), not from random ones"),
    Option(
        "preprocessing",
        None,
        "mean and standard deviation of images: imagenet's, or those that the network's weights expect (default: imagenet; "
        "network if the backbone is frozen or only its last blocks are trained)",
        choices=PREPROCESSINGS,
    ),
    Option("freeze_backbone", False, "train only what the method adds; the network stays as it is"),
    Option(
        "train_last_blocks",
        None,
        "train only the network's last N blocks and what the method adds; what precedes stays as it is (default: train all)",
        whole,
        range=Range(1, 10_000),
        metavar="N",
    ),
    Option("pretrained_path", None, "weights file to start from (.pth, .pt, .tar, .safetensors)", metavar="FILE"),
    Option(
        "keep_classifier",
        AUTO,
        "also start from the weights' own classifier: TRUE, FALSE, or auto: where the original code does (resnet50 with a "
        "linear classifier on ILSVRC's 1000 classes), and from the checkpoint of a run with the same classes",
        boolean,
        auto=True,
    ),
    Option(
        "wsolevaluation_checkpoint", None, "start from this checkpoint of wsolevaluation, not ImageNet's", metavar="FILE"
    ),
)
_TRAINING = (
    Option(
        "cache_features",
        None,
        "keep a frozen network's features of each image, and of its mirror image, in this folder, for later epochs and runs",
        metavar="DIR",
    ),
    Option("epochs", 40, "passes over the training images; 0 only evaluates", range=Range(0, 1_000_000)),
    Option("batch_size", 64, "images per step, of all processes together", range=BATCH),
    Option("eval_batch_size", None, "images at a time in evaluation (default: batch_size)", whole, BATCH),
    Option("lr", 0.01, "learning rate; the papers search over powers of ten", range=RATE),
    Option(
        "lr_decay_frequency", 30, "lr is divided by 10 at the start of every epoch that is a multiple of this", range=DECAY
    ),
    Option("lr_classifier_ratio", 10.0, "ratio of the learning rate of the classifier and the last stage to lr", range=RATE),
    Option("momentum", 0.9, "from 0 (plain SGD) up to, but not including, 1", range=Range(0, 1, open_high=True)),
    Option("weight_decay", 1e-4, "L2 penalty on all weights", range=Range(0, 1e6)),
    Option("sync_batchnorm", False, "batch statistics of all processes (torchrun), not of each one's images; on GPUs"),
    Option("compile", False, "compile the training step (torch.compile), for minutes; needs a C++ compiler"),
)
_FINAL = (
    Option("cam_agg_level", None, _CAM_AGG, metavar="LEVEL"),
    Option("map_level", None, f"{_MAP_LEVEL} (default: the first)", metavar="LEVEL"),
    Option("box_v2_metric", True, "report MaxBoxAccV2: sets both multi_ flags to this value"),
    CAM_CURVE_INTERVAL,
    *_metric(True),
    Option(
        "eval_checkpoint_type", "last", "checkpoint for the final evaluation: last, or best on val", choices=("last", "best")
    ),
    Option(
        "select_on",
        TRUE,
        "boxes of val that choose the best checkpoint, score-map thresholds and how boxes are drawn: true, or pseudo, which "
        "dataset/pseudo_boxes.py makes where nobody has drawn any",
        choices=SOURCES,
    ),
    Option("eval_test", True, "evaluate on the test split, once, at the end"),
    Option("calibrate", True, "let the boxes of val choose how the final checkpoint draws boxes on new photos"),
    Option("save_scoremaps", "both", "splits whose final maps are saved", choices=("none", "val", "test", "both")),
    _SCOREMAP_FORMAT,
    max_megapixels("images and masks"),
    _BOOTSTRAP,
)
_SCORED = (
    Option(
        "scoremap_root",
        "train_log/scoremaps/",
        "folder of the maps, <image id>.npy, .npz or .png; or a .csv image,folder",
    ),
    Option("dataset_name", "Toy", "a data set in <metadata_root>", folder_name),
    Option("split", "val", "val, test, or any split with boxes or masks", folder_name),
    _METADATA_ROOT,
    _MASK_ROOT,
    Option(
        "select_on",
        TRUE,
        "boxes of val to score with: true, or pseudo, of dataset/pseudo_boxes.py",
        choices=SOURCES,
    ),
    Option("image_list", None, "score only these images (a file of ids, one per line)", metavar="FILE"),
    Option("on_missing", "stop", "missing maps are an error, or are skipped and counted", choices=("stop", "skip")),
    Option("center", False, "score the Center baseline, a Gaussian in the middle, instead of saved maps"),
    Option(
        "center_size",
        None,
        "side of the Center baseline's map in pixels (default: 224, or the size of the maps that it is compared with)",
        whole,
        SIDE,
    ),
    Option(
        "map_size",
        None,
        "resize every map to N x N bicubically and normalise it again; with --boxes score them in N x N pixels, as maps are",
        whole,
        SIDE,
        metavar="N",
    ),
    max_megapixels("maps and masks"),
    Option(
        "boxes",
        None,
        "score a detector's boxes instead: COCO results, of which each image's best box counts",
        metavar="FILE",
    ),
    Option(
        "coco_images",
        None,
        "COCO annotation file that maps the numeric image ids of --boxes or --proposals to file names",
        metavar="FILE",
    ),
    Option("images_from", None, "score the counts that a run kept, <split>_images.npz, instead of maps", metavar="FILE"),
    *_REFINE,
    replace(_DATA_ROOT, help=f"with --refine: {_DATA_ROOT.help}"),
    Option("workers", 0, "processes that read and score maps; 0: only the main process", range=WORKERS),
)
_SCORING = (
    replace(
        CAM_CURVE_INTERVAL,
        default=None,
        read=number,
        help=f"{CAM_CURVE_INTERVAL.help} (default: {SCORING_INTERVAL:g}, or the interval of --thresholds_from)",
    ),
    *_metric(False),
    Option(
        "thresholds_from",
        None,
        "also report the accuracy at the score-map thresholds that val chose (a checkpoint, results.json, or --json of val)",
        metavar="FILE",
    ),
    Option("class_ranks", None, "a run's <split>_class_ranks.csv, for Top-1 and Top-5 Loc", metavar="FILE"),
    _BOOTSTRAP,
    Option("seed", 0, "seed of the resamples", range=SEED),
    Option(
        "compare",
        None,
        "paired test: other maps (a folder), a run's <split>_images.npz, the word center, or with --boxes another file",
        metavar="OTHER",
    ),
)
_OUTPUT = (
    Option("json", None, "also write the results to this file", metavar="FILE"),
    Option("curve", None, "write accuracy, or precision and recall, at every score-map threshold", metavar="FILE"),
    Option("per_class", None, "write the accuracy of every class of every label level", metavar="FILE"),
    Option("per_image", None, "write every image's box at val's threshold, its IoU, and the best IoU", metavar="FILE"),
    Option(
        "metrics",
        None,
        f"also the mean over images of metrics of a map and its boxes: {', '.join(registry.names('metrics'))}",
        metavar="NAME",
        several=True,
    ),
    Option("analysis", False, "report box area, activation and fragments of the maps (Cole et al., appendix 0.F.1)"),
)
_MODEL = (
    Option("checkpoint", None, "a run's best_ or last_checkpoint.pth.tar", metavar="FILE"),
    Option("describe", None, "print what a checkpoint knows, and what it lacks; nothing else is done", metavar="FILE"),
    Option("export", None, "write the model as an ONNX file, --output FILE.onnx, and check it", choices=("onnx",)),
    Option("cam_agg_level", None, f"{_CAM_AGG} (default: as in training)", metavar="LEVEL"),
    Option("map_level", None, f"{_MAP_LEVEL} (default: as in training)", metavar="LEVEL"),
    Option(
        "extractor",
        registry.OWN_MAPS,
        "how maps are made: by the method itself, by an extractor of torchcam, or by one that needs no training",
        choices=EXTRACTORS,
    ),
    *_REFINE,
    Option(
        "coco_images",
        None,
        "COCO annotation file that maps the numeric image ids of --proposals to file names",
        metavar="FILE",
    ),
    Option("batch_size", None, "images at a time (default: as in training)", whole, BATCH),
    _SCOREMAP_FORMAT,
)
_PHOTOS = (
    Option("images", None, "a folder of photos, a pattern such as 'a/*.jpg', or a .txt file of paths", metavar="PHOTOS"),
    Option(
        "image_root",
        None,
        "folder that the lines of a list, and the names in the results, are relative to (default: the current folder for "
        "lines, the named one for results)",
        metavar="FOLDER",
    ),
    Option("output", None, "folder for the boxes; a stopped command goes on there (with --export: the file)", metavar="OUT"),
    Option("labels", None, "known classes of photos: a table with the columns file,label", metavar="CSV"),
    Option("columns", None, "names of these columns, such as image=Datei label=Art", metavar="ROLE=NAME", several=True),
    Option("encoding", None, "encoding of --labels (default: UTF-8)", metavar="NAME"),
    Option("threshold", None, "score-map threshold, in place of the checkpoint's", number, Range(0, 1, open_high=True)),
    Option("max_boxes", 1, "most boxes of a photo, one per strong component of its map", range=Range(1, 1000)),
    Option("top_k", 1, "classes to name, the most probable first", range=Range(1, 1000)),
    Option("min_confidence", None, "leave out photos whose class has a lower probability", number, Range(0, 1)),
    Option("min_expected_iou", None, "leave out photos whose box is expected to have a lower IoU", number, Range(0, 1)),
    Option("overlays", False, "also write each photo under its map, with its boxes"),
    Option("maps", False, "also write the score maps"),
    Option("crops", False, "also write the boxes cut out of the photos"),
    Option("html", False, "also write a page with all photos, to sort, filter, and accept or reject their boxes"),
    Option("keep", None, "leave out photos that were not accepted on this page (its verdicts.csv)", metavar="VERDICTS"),
    max_megapixels("photos"),
)
_MAPPED = (
    Option("split", "val", "train, val or test", folder_name),
    Option("scoremap_root", None, "folder for the maps; it must not hold any yet", metavar="FOLDER"),
    Option("dataset_name", None, "data set (default: as in training)", folder_name),
    Option("data_root", None, "folder of the images (default: as in training)"),
    Option("metadata_root", None, "folder of the metadata (default: as in training)"),
    Option("image_list", None, "map only these images of the split (a file of ids, one per line)", metavar="FILE"),
    replace(_DECODE_SCALE, default=None, help=f"{_DECODE_SCALE.help} (default: as in training)"),
)
_UNTRAINED = (
    Option("architecture", None, "timm:NAME, or open_clip:NAME/TAG for text; needs an extractor without training"),
    Option("pretrained", True, "the network's own weights (downloaded, or --pretrained_path), not random ones"),
    Option("pretrained_path", None, "weights file of the network (.pth, .pt, .tar, .safetensors)", metavar="FILE"),
    Option("large_feature_map", False, "remove one stride of a convolutional network, for a map twice as fine"),
    Option("label_level", None, "label level whose classes --prompts names (default: the finest)"),
    Option("prompts", None, 'text for a class with its name as {name}, such as "a photo of a {name}"', metavar="TEXT"),
    Option("crop_size", 224, "side of the network's input, to which the whole image is resized", range=SIDE),
    Option(
        "preprocessing",
        THE_NETWORKS,
        "mean and standard deviation of the network's input: its own, or imagenet's",
        choices=PREPROCESSINGS,
    ),
    Option("seed", 0, "source of random weights", range=SEED),
)


def training_groups() -> tuple[Group, ...]:
    """Return the options of main.py; its methods and architectures come from the registry, which other packages extend."""
    networks = ", ".join(registry.names("architectures"))
    chosen = (
        Option("architecture", "resnet50", f"{networks}, or timm:NAME for a network of the timm library"),
        Option("wsol_method", "cam", "how score maps are learned", choices=tuple(registry.names("methods"))),
    )
    effect = "used by the chosen --wsol_method; options of other methods have no effect"
    return (
        Group("run", _RUN),
        Group("data", _DATA),
        Group("model", (*chosen, *_WEIGHTS)),
        Group("methods", tuple(registry.method_options().values()), effect),
        Group("training", _TRAINING, "SGD with Nesterov momentum"),
        Group("evaluation", _FINAL),
    )


EVALUATION = (
    Group("what to score", _SCORED),
    Group("metric", _SCORING),
    Group("output", _OUTPUT, "tables are .csv or .parquet"),
)
# What each of inference.py's modes has no use for.
NOT_FOR_SPLITS = tuple(option.name for option in _PHOTOS if option.name != "images")
_OF_SPLITS = tuple(option.name for option in _MAPPED if option.name != "scoremap_root")
FOR_UNTRAINED = tuple(option.name for option in _UNTRAINED if option.name != "architecture")
NOT_FOR_PHOTOS = (*_OF_SPLITS, "cache_images", "on_bad_image", "architecture", *FOR_UNTRAINED, "proposals", "coco_images")
NOT_FOR_EXPORT = tuple(
    name
    for name in (*NOT_FOR_SPLITS, *NOT_FOR_PHOTOS, "batch_size", "scoremap_format", "refine")
    if name not in ("output", "data_root", "metadata_root", "dataset_name")
)
INFERENCE = (
    Group("model", _MODEL),
    Group("network without training", _UNTRAINED, "instead of --checkpoint, with --scoremap_root"),
    Group("boxes for photos", _PHOTOS, "with --images"),
    Group("score maps of a split", _MAPPED, "with --scoremap_root"),
    Group("machine", _MACHINE),
)
