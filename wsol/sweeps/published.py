"""The published figures that tables show beside ours, in percent on test, all with ResNet-50.

Source: Cole et al., "On Label Granularity and Object Localization", ECCV 2022, Tables 1 (classes), 2 and A2. None is
a "-" of the paper.
"""

from collections.abc import Mapping, Sequence

SOURCE = "Cole et al., ECCV 2022"
ARCHITECTURE = "resnet50"
CLASSES = {"ILSVRC": 1000, "CUB": 200, "OpenImages": 100, "iNatLoc500": 500}  # of the finest level, in Table 2's order

# MaxBoxAccV2, of OpenImages PxAP; by method and data set, in the order of CLASSES.
TABLE_2: Mapping[str, Sequence[float | None]] = {
    "CAM": (63.7, 63.0, 58.5, 60.2),
    "HaS": (63.4, 64.7, 55.9, 60.0),
    "ACoL": (62.3, 66.5, 57.3, 55.3),
    "SPG": (63.3, 60.4, 56.7, 60.7),
    "ADL": (63.7, 58.4, 55.2, 58.9),
    "CutMix": (63.3, 62.8, 57.7, 60.1),
    "Center": (53.4, 56.8, 46.0, 42.8),
    "FSL-Seg": (68.7, 89.4, 75.2, 78.6),
    "FSL-Det": (70.4, 95.4, None, 83.6),
}

# MaxBoxAccV2 on iNatLoc500, by method and level.
LEVELS = ("species", "genus", "family", "order", "class", "phylum")
TABLE_A2: Mapping[str, Sequence[float | None]] = {
    "CAM": (60.2, 62.7, 63.3, 65.4, 65.2, 60.3),
    "HaS": (60.0, 61.5, 63.4, 64.1, 62.3, 52.1),
    "ACoL": (None, None, None, None, None, None),
    "SPG": (60.7, 63.5, 63.2, 64.6, 62.4, 55.6),
    "ADL": (58.9, 63.4, 63.7, 63.9, 64.3, 59.8),
    "CutMix": (60.1, 63.3, 63.7, 66.7, 64.1, 61.1),
    "CAM-Agg": (60.2, 59.8, 58.6, 55.0, 48.8, 40.1),
}


def of_table_2(dataset: str, classes: int) -> dict[str, float | None]:
    """Return method to figure on a data set at its finest level; empty if the paper has none with so many classes."""
    if CLASSES.get(dataset) != classes:
        return {}
    return {method: figures[list(CLASSES).index(dataset)] for method, figures in TABLE_2.items()}


def of_table_a2(dataset: str, level: str) -> dict[str, float | None]:
    """Return method to figure at a level of a data set; empty if the paper has none."""
    if dataset != "iNatLoc500" or level not in LEVELS:
        return {}
    return {method: figures[LEVELS.index(level)] for method, figures in TABLE_A2.items()}
