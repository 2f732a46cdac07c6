"""Architectures, methods, mappers, refiners and metrics by name: one entry "module:object" each, imported when it is used.

The entry of a method also has its options, so that they can be listed and checked without torch. Other packages register
theirs as entry points of the groups wsol.architectures, wsol.methods (a `MethodEntry`), wsol.mappers, wsol.refiners and
wsol.metrics.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from wsol.core.errors import InputError, OptionError, OptionName, did_you_mean
from wsol.core.options import Option, Range

UNIT = Range(0, 1, words="0 to 1")
WHOLE = Range(0, words="a whole number, 0 or more")
WEIGHT = Range(0, 1e6, words="0 to 1e+06")


LABELS, BOXES, MASKS = "labels", "boxes", "masks"  # what a method is trained on


@dataclass(frozen=True)
class MethodEntry:
    """A method, as it is known without torch.

    path: its class, as "module:class".
    options: the options that the class takes as keywords, with the same defaults.
    ascending: pairs of options, the first of which must not exceed the second.
    supervision: what it is trained on: LABELS of train, or BOXES or MASKS of val (train-fullsup).
    detects: whether it gives one box per image instead of a map.
    run_options: further options, for a run's data and evaluation rather than for the class.
    acts_inside: whether it changes features inside the network, which a frozen network would not learn from.
    features_alone: whether in training it takes nothing from an image but its last features, so that these can be kept.
    when_frozen: defaults of options on a frozen network, in place of their own.
    """

    path: str
    options: tuple[Option, ...] = ()
    ascending: tuple[tuple[str, str], ...] = ()
    supervision: str = LABELS
    detects: bool = False
    run_options: tuple[Option, ...] = ()
    acts_inside: bool = False
    features_alone: bool = False
    when_frozen: Mapping[str, object] = field(default_factory=dict)

    @property
    def classifies(self) -> bool:
        """Whether its network tells classes apart."""
        return self.supervision == LABELS

    def check(self, values: Mapping[str, Any]) -> None:
        """Check the values of the options, each by itself and together.

        Raises:
            OptionError: a value is out of range, or exceeds the option that limits it.
        """
        for option in (*self.options, *self.run_options):
            option.check(values[option.name])
        for low, high in self.ascending:
            if values[low] > values[high]:
                raise OptionError(low, values[low], "expected at most ", OptionName(high), f" {values[high]}")


ARCHITECTURES = {
    "resnet18": "wsol.networks.resnet:resnet18",
    "resnet50": "wsol.networks.resnet:resnet50",
    "vgg16": "wsol.networks.vgg:vgg16",
    "inception_v3": "wsol.networks.inception:inception_v3",
}
TIMM_PREFIX = "timm:"
TIMM = "wsol.networks.timm_networks:timm_network"
OPEN_CLIP_PREFIX = "open_clip:"  # networks with a text tower, for maps without training
OPEN_CLIP = "wsol.networks.open_clip_networks:open_clip_network"

_VAL_SHARE = Option(
    "fsl_val_share",
    0.2,
    "FSL: share of every class's train-fullsup images that validates, the rest trains; 0: all train, nothing validates",
    range=Range(0, 1, open_high=True, words="0 or more, less than 1"),
)

METHODS = {
    "cam": MethodEntry("wsol.methods.cam:CAM", features_alone=True),
    "has": MethodEntry(
        "wsol.methods.has:HaS",
        (
            Option("has_grid_size", 4, "HaS: side of a cell in pixels; 0 hides nothing", range=WHOLE),
            Option("has_drop_rate", 0.5, "HaS: probability that a cell is hidden; 0 hides none, 1 all", range=UNIT),
        ),
    ),
    "acol": MethodEntry(
        "wsol.methods.acol:ACoL",
        (
            Option(
                "acol_threshold",
                0.7,
                "ACoL: the second branch does not see where the first one's map reaches this",
                range=UNIT,
            ),
        ),
        features_alone=True,
    ),
    "spg": MethodEntry(
        "wsol.methods.spg:SPG",
        tuple(
            Option(f"spg_threshold_{guidance}{kind}", default, f"SPG: {side} this in {where}", range=UNIT)
            for guidance, where, defaults in (
                (1, "the class map, for side branch B2", (0.7, 0.01)),
                (2, "side branch B2, for B1", (0.5, 0.05)),
                (3, "both side branches, for branch C", (0.7, 0.1)),
            )
            for kind, side, default in zip("hl", ("foreground above", "background below"), defaults, strict=True)
        ),
        tuple((f"spg_threshold_{guidance}l", f"spg_threshold_{guidance}h") for guidance in (1, 2, 3)),
    ),
    "adl": MethodEntry(
        "wsol.methods.adl:ADL",
        (
            Option(
                "adl_drop_rate",
                0.75,
                "ADL: probability of dropping the strongest positions rather than weighting all",
                range=UNIT,
            ),
            Option(
                "adl_threshold",
                0.9,
                "ADL: positions at or above this share of the maximum are dropped; 1: the maximum",
                range=UNIT,
            ),
        ),
        acts_inside=True,
    ),
    "cutmix": MethodEntry(
        "wsol.methods.cutmix:CutMix",
        (
            Option(
                "cutmix_beta",
                1.0,
                "CutMix: lambda is Beta(beta, beta): small values keep nearly all or nearly nothing "
                "of an image, large ones about half; 0 mixes nothing",
                range=Range(0, 1e6, words="0 to 1e+06"),
            ),
            Option("cutmix_prob", 1.0, "CutMix: probability that a batch is mixed", range=UNIT),
        ),
    ),
    "fsl_seg": MethodEntry(
        "wsol.methods.fsl_seg:FSLSeg",
        supervision=MASKS,
        run_options=(
            _VAL_SHARE,
            Option(
                "thresholds_from",
                None,
                "FSL-Seg with fsl_val_share 0: the score-map thresholds chosen by this run (its checkpoint or results.json)",
                metavar="FILE",
            ),
        ),
    ),
    "fsl_det": MethodEntry("wsol.methods.fsl_det:FSLDet", supervision=BOXES, detects=True, run_options=(_VAL_SHARE,)),
    "tri_region": MethodEntry(
        "wsol.methods.tri_region:TriRegion",
        (
            Option(
                "tri_foreground_weight",
                1.0,
                "tri-region: weight of the foreground's cross-entropy; the image's own has 1",
                range=WEIGHT,
            ),
            Option(
                "tri_background_weight",
                1.0,
                "tri-region: weight of the adversarial loss, -log(1 - p(true class)) of the background; 0: none",
                range=WEIGHT,
            ),
            Option(
                "tri_temperature",
                0.0,
                "tri-region: what the regions' logits, of unit variance, are divided by; 0: a learned scale and shift; the "
                "default where the network is frozen is 4",
                range=WEIGHT,
            ),
            Option(
                "tri_layer_norm",
                False,
                "tri-region: normalise the features of each position; the default where the network is frozen is TRUE",
            ),
        ),
        features_alone=True,
        when_frozen={"tri_temperature": 4.0, "tri_layer_norm": True},
    ),
}

# Functions that make a Mapper from a model and, for maps of a coarser level, each class's ancestor (wsol/maps/mapper.py).
OWN_MAPS, CAM_AGG = "method", "cam_agg"
MAPPERS = {
    OWN_MAPS: "wsol.maps.mapper:own_maps",
    CAM_AGG: "wsol.maps.cam_agg:aggregate",
    "gradcam": "wsol.maps.extractors:gradcam",
    "gradcam++": "wsol.maps.extractors:gradcam_pp",
    "xgradcam": "wsol.maps.extractors:xgradcam",
    "layercam": "wsol.maps.extractors:layercam",
    "scorecam": "wsol.maps.extractors:scorecam",
    "attention": "wsol.maps.class_attention:ClassAttention",
    "lost": "wsol.maps.lost:Lost",
    "tokencut": "wsol.maps.tokencut:TokenCut",
    "text": "wsol.maps.text:TextSimilarity",
}
TEXT = "text"
WITHOUT_TRAINING = ("attention", "lost", "tokencut", TEXT)  # which need no classifier, and so no checkpoint

# Functions that make a Refiner (wsol/maps/refine.py) from the user's proposals, or None.
PROPOSALS = "proposals"
REFINERS = {"grabcut": "wsol.maps.grabcut:grabcut", PROPOSALS: "wsol.metrics.proposal_refiner:snap_to_proposals"}

# Functions of a score map, float (H, W), and its true boxes, int (m, 4) at the map's size, to a number in [0, 1].
METRICS = {"pointing_game": "wsol.metrics.pointing_game:pointing_game"}

KINDS: dict[str, Mapping[str, str | MethodEntry]] = {
    "architectures": ARCHITECTURES,
    "methods": METHODS,
    "mappers": MAPPERS,
    "refiners": REFINERS,
    "metrics": METRICS,
}


@cache
def of_other_packages(kind: str) -> dict[str, str]:
    """Return name to entry of what other packages register for a kind."""
    return {point.name: point.value for point in entry_points(group=f"wsol.{kind}")}


def names(kind: str) -> tuple[str, ...]:
    """Return the names of a kind, one of KINDS, built-in ones first; another package cannot replace these.

    >>> names("methods")
    ('cam', 'has', 'acol', 'spg', 'adl', 'cutmix', 'fsl_seg', 'fsl_det', 'tri_region')
    """
    if kind not in KINDS:
        raise InputError(f"{kind!r} is not a kind of the registry; expected one of {', '.join(KINDS)}")
    return tuple(dict.fromkeys([*KINDS[kind], *of_other_packages(kind)]))


def _entry(kind: str, name: str) -> str | MethodEntry:
    if name not in names(kind):
        known = ", ".join(names(kind)) or "none"
        raise InputError(f"{name!r} is not one of the {kind}: {known}{did_you_mean(name, names(kind))}")
    return KINDS[kind].get(name) or of_other_packages(kind)[name]


def find(kind: str, name: str) -> Callable[..., Any]:
    """Return the object registered under a name of a kind, one of KINDS; for a method, its class.

    Raises:
        InputError: no such name; the message lists the names.
    """
    entry = method_entry(name).path if kind == "methods" else _entry(kind, name)
    return load(str(entry))


def method_entry(name: str) -> MethodEntry:
    """Return the entry of a method; its class is not imported.

    Raises:
        InputError: no such method, or another package registered something other than a `MethodEntry`.
    """
    entry = _entry("methods", name)
    found = load(entry) if isinstance(entry, str) else entry
    if not isinstance(found, MethodEntry):
        raise InputError(f"the method {name!r} of another package is a {type(found).__name__}; expected a MethodEntry")
    return found


def load(entry: str) -> Callable[..., Any]:
    """Return the object named by "module:name".

    >>> load("math:hypot")(3, 4)
    5.0
    """
    module, _, name = entry.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"the registry's entry {entry!r} cannot be loaded: {error}") from error


def method_options(of_runs: bool = True) -> dict[str, Option]:
    """Return name to option for the options of all methods; without `of_runs`, only for those that their classes take."""
    entries = [method_entry(name) for name in names("methods")]
    return {one.name: one for entry in entries for one in (*entry.options, *(entry.run_options if of_runs else ()))}
