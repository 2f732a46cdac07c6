"""Images drawn per class, from a generator that is passed in: those of a split that a run trains or validates on."""

import numpy as np

from wsol.core.errors import OptionError


def draw_per_class(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return which images are drawn, bool (n,): up to `count` of every class, uniformly without replacement.

    `labels`: each image's class, int (n,). The classes are drawn in ascending order.
    """
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order]))
    groups = np.split(order, starts + 1)
    drawn = np.zeros(len(labels), dtype=bool)
    drawn[np.concatenate([rng.permutation(group)[:count] for group in groups])] = True
    return drawn


def draw_val(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `draw_per_class` of the validation images and finest classes; raise OptionError if a class has fewer."""
    drawn = draw_per_class(labels, count, rng)
    fewest = _counts(labels[drawn]).min(initial=count)
    if fewest < count:
        raise OptionError(
            "num_val_sample_per_class",
            count,
            f"a class has only {fewest} validation images; expected 0 (all) to {fewest}",
        )
    return drawn


def draw_train(labels: np.ndarray, count: int, rng: np.random.Generator, notes: list[str]) -> np.ndarray:
    """Return `draw_per_class` of the training images; add a note if a class has fewer."""
    drawn = draw_per_class(labels, count, rng)
    counts = _counts(labels[drawn])
    if fewer := int((counts < count).sum()):
        notes.append(f"train: {fewer} of {len(counts)} classes have fewer than {count} images; all of these are used")
    return drawn


def _counts(labels: np.ndarray) -> np.ndarray:
    return np.unique(labels, return_counts=True)[1]
