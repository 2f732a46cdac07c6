"""The weights that a run's network starts from, and the messages for the log about them.

In: a configuration and the classes. Out: a model with random weights, ImageNet's, those of a file, or all weights of an
earlier run.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from torch import nn

from wsol.core.errors import OptionError
from wsol.core.options import AUTO
from wsol.data.images import IMAGENETS
from wsol.data.level_set import TrainedLevel
from wsol.data.levels import LevelData
from wsol.methods import wsolevaluation
from wsol.methods.build import build_from_config, keep_pretrained_classifier
from wsol.methods.method import Method
from wsol.networks.weights import read_weights
from wsol.runs.checkpoints import KEYS, check_entries, restore_model

SYNSET = r"n\d{8}"


def _are_imagenets(data: LevelData) -> bool:
    """Return whether the classes are ImageNet's 1000, in the order of pretrained classifiers, which is WordNet's."""
    synsets = [name for name in data.class_names if re.fullmatch(SYNSET, name)]
    return data.file_labels == list(range(1000)) and data.level == data.levels[0] and synsets == sorted(synsets)


def _original_may_keep(config: Mapping) -> bool:
    return (config["dataset_name"], config["architecture"]) == ("ILSVRC", "resnet50") and config["pretrained"]


def _is_linear(model: Method) -> bool:
    return isinstance(getattr(model, "classifier", None), nn.Linear)


def original_keeps_classifier(config: Mapping, data: LevelData, model: Method) -> bool:
    """Return whether wsolevaluation starts from the pretrained weights' own classifier.

    Of its networks only resnet50 does so, on ILSVRC, with the methods that have a linear classifier.
    """
    return _original_may_keep(config) and _is_linear(model) and _are_imagenets(data)


def _is_of_run(content: object) -> TypeGuard[dict]:
    """Return whether the content of a weights file is a run's checkpoint."""
    return isinstance(content, dict) and all(key in content for key in KEYS)


def auto_is_false(config: Mapping) -> bool:
    """Return whether keep_classifier "auto" and false give the same run, at any level.

    They can differ by the original's rule, and if the run starts from another run's checkpoint.
    """
    if config["wsolevaluation_checkpoint"]:  # it fills every entry
        return True
    if config["pretrained_path"] and _is_of_run(read_weights(config["pretrained_path"])):
        return False
    return not (_original_may_keep(config) and _is_linear(build_from_config(config, 2)))


def _why_not_whole(
    checkpoint: Mapping, config: Mapping, data: LevelData, together: Sequence[TrainedLevel] = ()
) -> str | None:
    """Return why only the backbone of a run's checkpoint is taken, or None if all of it is."""
    trained = checkpoint["config"]
    if config["keep_classifier"] is False:
        return "keep_classifier is FALSE"
    for name in ("architecture", "wsol_method"):
        if trained[name] != config[name]:
            return f"its {name} is {trained[name]}, this run's is {config[name]}"
    if checkpoint.get("trained_levels", []) != [one.to_dict() for one in together]:
        return "it was not trained at the same levels at once"
    classes = [(one["class_names"], one["file_labels"]) for one in (checkpoint, vars(data))]
    if not together and classes[0] != classes[1]:
        return f"its {len(classes[0][0])} classes are not this run's {len(classes[1][0])}"
    unnamed = data.class_names == [str(label) for label in data.file_labels]
    if unnamed and trained["dataset_name"] != config["dataset_name"]:
        return f"its classes have no names and belong to {trained['dataset_name']}"
    return None


def _start_from_run(
    checkpoint: Mapping, config: Mapping, data: LevelData, together: Sequence[TrainedLevel] = ()
) -> tuple[Method | None, list[str]]:
    """Return (the model with all weights of a run's checkpoint, or None if only its backbone fits; messages for the log)."""
    path = config["pretrained_path"]
    check_entries(checkpoint, path)
    if why := _why_not_whole(checkpoint, config, data, together):
        if config["keep_classifier"] is True:
            raise OptionError("keep_classifier", "TRUE", f"{path}: {why}")
        return None, [f"weights: the backbone of {path}; the classifier is initialised randomly: {why}"]
    model = restore_model({**checkpoint, "config": config}, path, finite=True)
    notes = [f"weights: all of {path} (epoch {checkpoint['epoch']}), including its classifier, for the same classes"]
    before, now = checkpoint["config"].get("preprocessing") or IMAGENETS, config.get("preprocessing") or IMAGENETS
    if before != now:
        notes.append(f"these weights were trained with preprocessing {before!r}; this run has {now!r}")
    return model, notes


def start_model(config: Mapping, data: LevelData, together: Sequence[TrainedLevel] = ()) -> tuple[Method, list[str]]:
    """Return (the model that a run starts from, messages for the log about its weights).

    `together`: the levels that are learned at once; empty: that of `data`.

    Raises:
        InputError: weights cannot be obtained or read, or do not match.
    """
    sizes = [len(one.class_names) for one in together]
    num_classes = sum(sizes) or len(data.class_names)
    if path := config["wsolevaluation_checkpoint"]:  # it fills every entry
        if together:
            raise OptionError(
                "wsolevaluation_checkpoint", path, "is of one level; expected none with several levels at once"
            )
        model = build_from_config(config, num_classes)
        wsolevaluation.read(model, path)
        return model, [f"weights: all of {path}, from wsolevaluation"]
    path, keep = config["pretrained_path"], config["keep_classifier"]
    notes: list[str] = []
    if path:
        content = read_weights(path)
        if _is_of_run(content):
            whole, notes = _start_from_run(content, config, data, together)
            if whole is not None:
                return whole, notes
        del content
    model = build_from_config(
        config,
        num_classes,
        pretrained=config["pretrained"],
        pretrained_path=path,
        keep_classifier=keep is True,
        level_sizes=sizes,
    )
    if not config["pretrained"]:
        return model, ["weights: random"]
    kept, why = keep is True, ""
    if keep == AUTO and not together and original_keeps_classifier(config, data, model):
        if kept := model.backbone.offer.pretrained_classifier is not None:
            keep_pretrained_classifier(model, config["architecture"])
            why = ", as in the original code on ILSVRC (keep_classifier FALSE: random)"
        else:
            why = ", since the file has none for 1000 classes"
    source = path or f"ImageNet's of {config['architecture']}"
    outcome = "their own classifier is kept" if kept else "the classifier is initialised randomly"
    return model, notes or [f"weights: {source}; {outcome}{why}"]
