"""Random splits of labelled images, with only images that have a box or mask in val and test.

In: labels, which images are localized, groups that must not be split up. Out: the ids of train, val and test.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np


def _targets(
    labels: Mapping[str, str], localized: Collection[str], shares: Sequence[float]
) -> tuple[Counter[str], Counter[str]]:
    """Return class to number of val images, and of test images: their shares, reduced in proportion if boxes are fewer."""
    total, have = Counter(labels.values()), Counter(labels[name] for name in localized)
    _, val_share, test_share = shares
    val: Counter[str] = Counter()
    test: Counter[str] = Counter()
    for name, count in total.items():
        val[name], test[name] = round(count * val_share), round(count * test_share)
        if val[name] + test[name] > have[name]:
            val[name] = round(have[name] * val_share / (val_share + test_share))
            test[name] = have[name] - val[name]
    return val, test


def _fill_empty(
    chosen: dict[int, str], members: Sequence[list[str]], boxed: Sequence[list[str]], shares: Sequence[float]
) -> None:
    """Give a split with a share but no group the smallest group of the split with most, unless that is its last."""
    for split, share in zip(("val", "test", "train"), (*shares[1:], shares[0]), strict=True):
        counts = Counter(chosen.values())
        usable = [i for i in chosen if counts[chosen[i]] > 1 and (split == "train" or boxed[i])]
        if share and not counts[split] and usable:
            chosen[min(usable, key=lambda i: (-counts[chosen[i]], len(members[i])))] = split


def draw_splits(
    labels: Mapping[str, str],
    localized: Collection[str],
    groups: Mapping[str, str],
    shares: Sequence[float],
    rng: np.random.Generator,
) -> tuple[dict[str, list[str]], list[str]]:
    """Return split to image ids, sorted, and the ids left out: images without a box in groups of val or test.

    Groups are taken in random order. Each goes to the split that still needs most of its localized images, or to train if
    neither val nor test needs more than half of them. No split with a share stays empty while another has several groups.
    Without groups every class gets its exact share.

    Args:
        labels: id to class.
        localized: ids with a box or mask.
        groups: id to group; an id without one is its own group.
        shares: of train, val and test, with sum 1.
        rng: draws the order of the groups.
    """
    members: dict[tuple[bool, str], list[str]] = {}
    for name in sorted(labels):
        members.setdefault((True, groups[name]) if name in groups else (False, name), []).append(name)
    wanted = dict(zip(("val", "test"), _targets(labels, localized, shares), strict=True))
    every = list(members.values())
    boxed = [[name for name in names if name in localized] for names in every]
    chosen: dict[int, str] = {}
    for index in rng.permutation(len(every)).tolist():
        counts = Counter(labels[name] for name in boxed[index])
        useful = {split: sum((counts & want).values()) for split, want in wanted.items()}
        best = max(useful, key=useful.__getitem__)
        if 2 * useful[best] > len(boxed[index]):
            chosen[index] = best
            wanted[best] = wanted[best] - counts
        else:
            chosen[index] = "train"
    if groups:
        _fill_empty(chosen, every, boxed, shares)
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for index, split in chosen.items():
        splits[split] += every[index] if split == "train" else boxed[index]
    used = {name for names in splits.values() for name in names}
    left_out = [name for name in labels if name not in used]
    return {split: sorted(names) for split, names in splits.items()}, sorted(left_out)
