"""Metadata read line by line into dictionaries: the slow, obviously right version of the readers of wsol.data."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from wsol.core.errors import MetadataError, OptionError, shortened
from wsol.core.files import read_lines
from wsol.data.levels import FINEST, SPLITS, TRAINED, LevelData, LevelSplit, level_file, read_class_names, read_levels
from wsol.data.metadata import _check_inside, is_whole_number


def image_ids(path):
    ids = {}
    for number, line in enumerate(read_lines(path), 1):
        _check_inside(path, number, line)
        if line in ids:
            raise MetadataError(f"{path}:{number}: duplicate id {line!r}; expected unique ids")
        ids[line] = None
    return list(ids)


def class_labels(path):
    labels = {}
    for number, line in enumerate(read_lines(path), 1):
        image_id, _, label = line.rpartition(",")
        if not (image_id and is_whole_number(label)):
            raise MetadataError(
                f"{path}:{number}: {shortened(repr(line), 300)}; expected path,label with a label of 0 or more (at most "
                "9 digits)"
            )
        if image_id in labels:
            raise MetadataError(f"{path}:{number}: duplicate id {image_id!r}; expected unique ids")
        labels[image_id] = int(label)
    return labels


def level_labels(folder, split, level, optional=False):
    path = folder / split / level_file("class_labels", level, read_levels(folder)[0])
    return {} if optional and not path.exists() else class_labels(path)


def check_consistent(folder, finer, level, tables):
    parent = {}
    for split, by_level in tables.items():
        for number, (image_id, label) in enumerate(by_level[level].items(), 1):
            child = by_level[finer].get(image_id)
            if child is not None and parent.setdefault(child, label) != label:
                names, finer_names = read_class_names(folder, level), read_class_names(folder, finer)
                both = [repr(names.get(value, value)) for value in (parent[child], label)]
                path = folder / split / level_file("class_labels", level, read_levels(folder)[0])
                raise MetadataError(
                    f"{path}:{number}: level {level!r} is inconsistent: the class {finer_names.get(child, child)!r} of "
                    f"level {finer!r} belongs to {both[0]} and to {both[1]}; expected one class"
                )


def draw_per_class(ids, labels, count, seed, split):
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    groups = {}
    for position, image_id in enumerate(ids):
        groups.setdefault(labels[image_id], []).append(position)
    chosen = []
    for label in sorted(groups):
        chosen.extend(rng.permutation(groups[label])[:count].tolist())
    return [ids[position] for position in sorted(chosen)]


def classes_of(folder, level, tables):
    names = read_class_names(folder, level)
    others = [level_labels(folder, split, level, optional=True) for split in SPLITS if split not in tables]
    present = {label for labels in (*(table[level] for table in tables.values()), *others) for label in labels.values()}
    unnamed = sorted(present - set(names))
    if names and unnamed:
        path = folder / level_file("class_names", level, read_levels(folder)[0])
        raise MetadataError(f"{path}: no name for label {unnamed[0]} of level {level!r}")
    return {label: names.get(label, str(label)) for label in (names or unnamed) if label in present}


def load_level(root, name, level, splits, num_val=0, num_train=0, seed=0, train_sample_level=TRAINED):
    folder = Path(root) / name
    levels = read_levels(folder)
    needed = levels[: levels.index(level) + 1]
    finest = levels[0]
    tables = {split: {finest: level_labels(folder, split, finest)} for split in splits}
    ids = {split: image_ids(f"{folder / split}/image_ids.txt") for split in tables}
    for split, by_level in tables.items():
        if missing := [image_id for image_id in ids[split] if image_id not in by_level[finest]]:
            raise MetadataError(
                f"{folder / split}/class_labels.txt: no label for {missing[0]!r} ({len(missing)} such ids); expected "
                "a label at the finest level for every id in image_ids.txt"
            )
    for finer, coarser in pairwise(needed):
        for split, by_level in tables.items():
            by_level[coarser] = level_labels(folder, split, coarser)
        check_consistent(folder, finer, coarser, tables)
    if level not in needed[:2]:
        check_consistent(folder, finest, level, tables)
    classes = classes_of(folder, level, tables)

    notes, kept = [], dict(ids)
    if num_val and "val" in tables:
        kept["val"] = draw_per_class(ids["val"], tables["val"][finest], num_val, seed, "val")
        counts = np.unique([tables["val"][finest][image_id] for image_id in kept["val"]], return_counts=True)[1]
        if len(counts) and counts.min() < num_val:
            said = f"a class has only {counts.min()} validation images; expected 0 (all) to {counts.min()}"
            raise OptionError("num_val_sample_per_class", num_val, said)

    def draw_train(labels):
        kept["train"] = draw_per_class(kept["train"], labels, num_train, seed, "train")
        counts = np.unique([labels[image_id] for image_id in kept["train"]], return_counts=True)[1]
        if fewer := int((counts < num_train).sum()):
            notes.append(
                f"train: {fewer} of {len(counts)} classes have fewer than {num_train} images; all of these are used"
            )

    if num_train and "train" in tables and train_sample_level == FINEST:
        draw_train(tables["train"][finest])
    for split, before in kept.items():
        kept[split] = [image_id for image_id in before if image_id in tables[split][level]]
        if left_out := len(before) - len(kept[split]):
            notes.append(f"{split}: {left_out} of {len(before)} images have no class at level {level!r} and are left out")
        if not kept[split]:
            raise MetadataError(f"{folder / split}: no image with a class at level {level!r}")
    if num_train and "train" in tables and train_sample_level == TRAINED:
        draw_train(tables["train"][level])
    number_of = {label: number for number, label in enumerate(classes)}
    result = LevelData(level, levels, list(classes.values()), list(classes), {}, notes)
    for split, each in kept.items():
        labels = np.array([number_of[tables[split][level][image_id]] for image_id in each], dtype=np.int64)
        result.splits[split] = LevelSplit(each, labels, len(each) < len(ids[split]))
    if "train" in tables and (untrained := len(classes) - len(np.unique(result.splits["train"].labels))):
        notes.append(f"{untrained} of {len(classes)} classes have no training image")
    return result


def class_ancestors(root, name, level, coarser):
    folder = Path(root) / name
    stem = level_file("class_labels", level, read_levels(folder)[0])
    splits = [split for split in SPLITS if (folder / split / stem).exists()]
    tables = {
        split: {each: level_labels(folder, split, each, optional=True) for each in (level, coarser)} for split in splits
    }
    if coarser != level:
        check_consistent(folder, level, coarser, tables)
    return {
        label: table[coarser][image_id]
        for table in tables.values()
        for image_id, label in table[level].items()
        if image_id in table[coarser]
    }


def rows_of_labels(folder, levels):
    rows, tables = {}, {level: {} for level in levels}
    for split in SPLITS:
        for level in levels:
            labels = level_labels(folder, split, level, optional=True)
            tables[level] |= {f"{split}/{image_id}": label for image_id, label in labels.items()}
    names = {level: read_class_names(folder, level) for level in levels}
    for image_id, label in tables[levels[0]].items():
        found = [tables[level].get(image_id) for level in levels]
        row = ["" if each is None else names[level].get(each, str(each)) for level, each in zip(levels, found, strict=True)]
        known = rows.setdefault(label, (f"{folder}: {image_id}", row))[1]
        if known != row:
            raise MetadataError(
                f"{folder}: the class {row[0]!r} is in {','.join(known[1:])!r} for one image and in {','.join(row[1:])!r} "
                f"for {image_id!r}; expected one class at every level"
            )
    order = list(names[levels[0]]) or sorted(rows)
    return [rows[label] for label in order if label in rows]
