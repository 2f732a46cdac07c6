"""A model from its name: a backbone with a method on it. torch is not imported until a model is built."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

from wsol.core import registry
from wsol.core.errors import InputError, OptionError, OptionName
from wsol.data.images import IMAGENETS

OF_NETWORKS = ("preprocessing", "freeze_backbone", "train_last_blocks")  # options, by the names of arguments

if TYPE_CHECKING:
    import torch

    from wsol.methods.method import Method
    from wsol.networks.backbone import Backbone


def build_model(
    architecture: str,
    wsol_method: str,
    num_classes: int,
    *,
    large_feature_map: bool = False,
    pretrained: bool = False,
    pretrained_path: str | None = None,
    acol_threshold: float = 0.7,
    adl_drop_rate: float = 0.75,
    adl_threshold: float = 0.9,
    spg_thresholds: tuple[tuple[float, float], ...] = ((0.7, 0.01), (0.5, 0.05), (0.7, 0.1)),
    keep_classifier: bool = False,
    level_sizes: Sequence[int] = (),
    level_weights: Sequence[float] | None = None,
    preprocessing: str = IMAGENETS,
    freeze_backbone: bool = False,
    train_last_blocks: int | None = None,
    **method_options: float,
) -> "Method":
    """Return an architecture with a method on it, a `wsol.methods.method.Method`.

    It has `model(images, labels=None) -> dict` (at least `logits`), `model.loss(outputs, labels)`,
    `model.training_step(images, labels)`, and `model.score_maps(images, labels)`, the raw maps (B, h, w) of the given labels
    (`model.raw_maps(outputs, labels)` if there are outputs already).

    `spg_thresholds` are three pairs (high, low). `method_options` are the other options of methods, by their names on the
    command line (has_grid_size, ...); some have another default on a frozen network. fsl_seg and fsl_det have one class, the
    object. `keep_classifier` also takes the classifier of the pretrained weights, if the classes are ImageNet's own 1000.

    `level_sizes`: the number of classes of each of several label levels that are learned at once
    (`wsol.methods.level_heads.AtLevels`); `num_classes` is their sum. `level_weights`: of their losses; None: equal ones.

    `preprocessing`: of images, by the statistics of "imagenet" or of the "network". `freeze_backbone` trains only what the
    method adds, `train_last_blocks` the network's last blocks too (docs/frozen.md).

    >>> import torch
    >>> model = build_model("resnet18", "cam", num_classes=3).eval()
    >>> images, labels = torch.zeros(2, 3, 64, 64), torch.tensor([0, 2])
    >>> model(images)["logits"].shape, model.score_maps(images, labels).shape
    (torch.Size([2, 3]), torch.Size([2, 4, 4]))

    Raises:
        InputError: an unknown architecture, method or option, a value out of range, an architecture that does not offer
            what the method needs, a frozen network with a method that changes it inside, or weights that cannot be obtained
            or do not match.
    """
    if wsol_method not in registry.names("methods"):
        raise OptionError("wsol_method", wsol_method, f"expected one of {', '.join(registry.names('methods'))}")
    if isinstance(num_classes, bool) or not isinstance(num_classes, Integral) or num_classes < 1:
        raise InputError(f"num_classes {num_classes}: expected a whole number, 1 or more")
    entry = registry.method_entry(wsol_method)
    if not entry.classifies and num_classes != 1:
        raise InputError(f"num_classes {num_classes}: {wsol_method} tells no classes apart; expected 1, the object")
    named = {"acol_threshold": acol_threshold, "adl_drop_rate": adl_drop_rate, "adl_threshold": adl_threshold}
    frozen = entry.when_frozen if freeze_backbone else {}
    given = _method_values(entry, {**frozen, **_spg_values(spg_thresholds), **named, **method_options})
    check_frozen(wsol_method, freeze_backbone, train_last_blocks)

    method = registry.find("methods", wsol_method)
    backbone = build_backbone(architecture, method.trunk, large_feature_map, pretrained, pretrained_path)
    backbone.choose_preprocessing(preprocessing)
    if freeze_backbone:
        backbone.freeze()
    elif train_last_blocks is not None:
        backbone.train_last(train_last_blocks)
    if level_sizes:
        model = _model_at_levels(method, backbone, num_classes, level_sizes, level_weights, given)
    else:
        model = method(backbone, num_classes, **given)
    if keep_classifier:
        keep_pretrained_classifier(model, f"{architecture} with {wsol_method}")
    return model


def _spg_values(thresholds: tuple[tuple[float, float], ...]) -> dict[str, float]:
    """Return SPG's options by name."""
    try:
        (high_1, low_1), (high_2, low_2), (high_3, low_3) = thresholds
    except (TypeError, ValueError):  # not a sequence, or not of this length
        raise InputError(f"spg_thresholds {thresholds}: expected three pairs (high, low)") from None
    first = {"spg_threshold_1h": high_1, "spg_threshold_1l": low_1, "spg_threshold_2h": high_2, "spg_threshold_2l": low_2}
    return {**first, "spg_threshold_3h": high_3, "spg_threshold_3l": low_3}


def _method_values(entry: registry.MethodEntry, given: Mapping[str, float]) -> dict[str, Any]:
    """Return the options that a method's class takes: given ones, of any method, or their defaults; checked."""
    known = {name: option.default for name, option in registry.method_options(of_runs=False).items()}
    if unknown := [name for name in given if name not in known]:
        raise OptionError(unknown[0], "", f"no method has this option; known: {', '.join(known)}")
    values = {**known, **{option.name: option.default for option in entry.run_options}, **given}
    entry.check(values)
    return {option.name: values[option.name] for option in entry.options}


def build_backbone(
    architecture: str, trunk: str, large_feature_map: bool, pretrained: bool, pretrained_path: str | None
) -> "Backbone":
    """Return an architecture's network without a method; `trunk` is the kind of features that the method takes.

    Raises:
        InputError: an unknown architecture, or weights that cannot be obtained or do not match.
    """
    options = (trunk, large_feature_map, pretrained, pretrained_path)
    for prefix, entry in ((registry.TIMM_PREFIX, registry.TIMM), (registry.OPEN_CLIP_PREFIX, registry.OPEN_CLIP)):
        if architecture.startswith(prefix):
            return registry.load(entry)(architecture.removeprefix(prefix), *options)
    if architecture in registry.names("architectures"):
        return registry.find("architectures", architecture)(*options)
    networks = ", ".join(registry.names("architectures"))
    raise OptionError("architecture", architecture, f"expected one of {networks}, or timm:NAME")


def _model_at_levels(
    method: "type[Method]",
    backbone: "Backbone",
    num_classes: int,
    sizes: Sequence[int],
    weights: Sequence[float] | None,
    options: Mapping[str, Any],
) -> "Method":
    from wsol.methods.level_heads import at_levels, level_weights  # imports torch, which importing the package should not

    if len(sizes) < 2 or sum(sizes) != num_classes:
        raise InputError(f"level_sizes {list(sizes)}: expected those of two levels or more, {num_classes} in sum")
    return at_levels(method)(backbone, sizes, level_weights(weights, len(sizes)), **options)


def check_frozen(wsol_method: str, freeze_backbone: bool, train_last_blocks: int | None) -> None:
    """Raise OptionError if a network cannot be frozen for a method, or is to be frozen and trained."""
    if not freeze_backbone:
        return
    if train_last_blocks is not None:
        raise OptionError("train_last_blocks", train_last_blocks, "not together with ", OptionName("freeze_backbone"))
    if registry.method_entry(wsol_method).acts_inside:
        raise OptionError(
            "freeze_backbone",
            "TRUE",
            f"{wsol_method} acts inside the network, to change what it learns; expected another method, or ",
            OptionName("train_last_blocks"),
            " N",
        )


def keep_pretrained_classifier(model: "Method", what: str) -> None:
    """Fill the model's classifier with the classifier of the pretrained weights; `what` names the model in messages.

    Raises:
        InputError: the weights or the model have no such classifier, or the shapes differ.
    """
    given = model.backbone.offer.pretrained_classifier
    classifier = getattr(model, "classifier", model)
    own = dict(classifier.named_parameters(recurse=False))
    if given is None or {name: value.shape for name, value in own.items()} != {n: v.shape for n, v in given.items()}:
        raise OptionError(
            "keep_classifier",
            "TRUE",
            f"{what} and {model.num_classes} classes cannot reuse a classifier; expected pretrained weights with one, a "
            "network with one linear classifier on its mean features, and as many classes as the weights have",
        )
    classifier.load_state_dict(given)


def build_from_config(config: Mapping, num_classes: int, **options: Any) -> "Method":
    """Return the model that a configuration describes; `options` are further arguments of `build_model`.

    The weights are random unless `options` says otherwise. Method options that the configuration lacks have their defaults.
    `num_classes` are those of the data; a method that tells no classes apart has one, the object. With `level_sizes` among
    the options, the levels' weights are the configuration's.
    """
    if options.get("level_sizes"):
        options["level_weights"] = config.get("level_weights")
    entry = registry.method_entry(config["wsol_method"])
    given = {option.name: config.get(option.name, option.default) for option in entry.options}
    given |= {name: config[name] for name in OF_NETWORKS if config.get(name) is not None}  # absent from older runs
    return build_model(
        config["architecture"],
        config["wsol_method"],
        num_classes if entry.classifies else 1,
        large_feature_map=config["large_feature_map"],
        **given,
        **options,
    )


def load_wsolevaluation_state_dict(model: "Method", state_dict: "Mapping[str, torch.Tensor]") -> None:
    """Fill a model from a checkpoint of wsolevaluation: its state dict, or the dict that holds it.

    Raises:
        InputError: entries are missing, have the wrong shape, or are unknown to this architecture and method.
    """
    from wsol.methods.wsolevaluation import load  # imports torch, which importing the package should not

    load(model, state_dict)
