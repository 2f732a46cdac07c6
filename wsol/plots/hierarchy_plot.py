"""A label hierarchy drawn as a radial tree that stays readable up to about a thousand leaves (Cole et al., Figure A5).

In: a `Hierarchy`. Out: a matplotlib figure whose size grows with the leaves, so that every leaf has its name.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from wsol.data.hierarchy import Hierarchy
from wsol.plots.drawing import COLORS, plain

LEAF_POINTS = 5.0  # font size of leaf names if there are many
LINE_POINTS = 1.25  # of the circumference, a leaf, in font sizes
NAMED_SHARE = 0.02  # an inner node with this share of the leaves below it has its name too
ALL_NAMED = 20  # with no more leaves than this, every inner node has its name
NAME_WIDTH = 0.62  # of a letter, in font sizes
STEPS = (0.0, 0.3, -0.3, 0.6, -0.6)  # where an inner node's name is tried: of its half angle, and of a depth
BRANCHES = 40  # the most branches; neighbours differ in colour


def _children(hierarchy: Hierarchy) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {}
    for child, parent in hierarchy.parents.items():
        children.setdefault(parent, []).append(child)
    return children


def layout(hierarchy: Hierarchy) -> tuple[dict[str, float], dict[str, int]]:
    """Return (node to angle in radians, node to leaves below it): leaves are spaced evenly, depth first; an inner node
    is midway between its first and its last child."""
    children = _children(hierarchy)
    angles: dict[str, float] = {}
    weights: dict[str, int] = {}
    waiting = [(hierarchy.root, False)]
    step = 2 * np.pi / len(hierarchy.leaves)
    placed = 0
    while waiting:
        node, done = waiting.pop()
        below = children.get(node, [])
        if not below:
            angles[node], weights[node] = placed * step, 1
            placed += 1
        elif done:
            angles[node] = (angles[below[0]] + angles[below[-1]]) / 2
            weights[node] = sum(weights[child] for child in below)
        else:
            waiting += [(node, True), *((child, False) for child in reversed(below))]
    return angles, weights


def branches(hierarchy: Hierarchy, weights: dict[str, int]) -> list[str]:
    """Return nodes, none below another, that split the leaves: from the root's children on, the heaviest is divided as long
    as it holds a tenth of the leaves, has inner nodes below it, and there are at most forty."""
    children = _children(hierarchy)
    found = list(children[hierarchy.root])
    while True:
        large = [node for node in found if node in children and weights[node] > weights[hierarchy.root] / 10]
        large = [node for node in large if any(child in children for child in children[node])]
        large = [node for node in large if len(found) - 1 + len(children[node]) <= BRANCHES]
        if not large:
            return found
        heaviest = max(large, key=weights.__getitem__)
        at = found.index(heaviest)
        found[at : at + 1] = children[heaviest]


def _colors(hierarchy: Hierarchy, parts: Sequence[str]) -> dict[str, ColorType]:
    """Return node to colour: that of its branch, grey above the branches."""
    strong = [*color_sequences["tab10"], *color_sequences["Dark2"]]
    of_part = {node: strong[i % len(strong)] for i, node in enumerate(parts)}
    colors = {}
    for node in hierarchy.depths:
        above = (node, *hierarchy.ancestors(node))
        colors[node] = next((of_part[each] for each in above if each in of_part), (0.5, 0.5, 0.5))
    return colors


def _level_colors(hierarchy: Hierarchy, cut: Mapping[str, Sequence[str]]) -> dict[str, ColorType]:
    """Return node to colour: from a node of a cut on that of its level, grey above the cut."""
    of_node = {node: COLORS[i % len(COLORS)] for i, nodes in enumerate(cut.values()) for node in nodes}
    colors: dict[str, ColorType] = {}
    for node in hierarchy.depths:
        above = (node, *hierarchy.ancestors(node))
        colors[node] = next((of_node[each] for each in above if each in of_node), (0.5, 0.5, 0.5))
    return colors


def _text(axes: Axes, node: str, angle: float, radius: float, size: float, color: ColorType) -> None:
    """Write a name along the radius, outwards, never upside down."""
    turned = np.pi / 2 < angle < 3 * np.pi / 2
    axes.text(
        radius * np.cos(angle),
        radius * np.sin(angle),
        node,
        rotation=np.degrees(angle) + (180 if turned else 0),
        rotation_mode="anchor",
        ha="right" if turned else "left",
        va="center",
        parse_math=False,
        fontsize=size,
        color=color,
    )


def _leaf_strips(hierarchy: Hierarchy, angles: dict[str, float], radius: float, size: float) -> np.ndarray:
    """Return points (x, y in inches) along every leaf's name at the rim, close enough that no box fits between them."""
    points = []
    for leaf in hierarchy.leaves:
        along = np.arange(radius + 0.06, radius + 0.06 + len(leaf) * size * NAME_WIDTH / 72, 0.04)
        points.append(np.outer(along, (np.cos(angles[leaf]), np.sin(angles[leaf]))))
    return np.concatenate(points)


def _name_places(
    hierarchy: Hierarchy, angles: dict[str, float], weights: dict[str, int], radius: float, size: float
) -> dict[str, tuple[float, float]]:
    """Return the (angle, depth) of inner nodes' names, large nodes first, the root last: it says least, and it may be one
    added only because a tree needs one.

    A name that would cover another, or a leaf's, moves along its branch, nearest place first; without room it is left out.
    """
    children = _children(hierarchy)
    count, deepest = len(hierarchy.leaves), max(hierarchy.depths.values())
    strips = _leaf_strips(hierarchy, angles, radius, size)
    taken: list[tuple[float, float, float]] = []  # middle and half width of the names so far, in inches
    height = 1.8 * (size + 2) / 72
    places: dict[str, tuple[float, float]] = {}
    for node, weight in sorted(weights.items(), key=lambda item: (item[0] == hierarchy.root, -item[1])):
        link = len(children.get(node, ())) == 1 and node != hierarchy.root  # of a chain: the node below it tells more
        if node not in children or (count > ALL_NAMED and (link or weight < max(2, NAMED_SHARE * count))):
            continue
        half = len(node) * (size + 2) * NAME_WIDTH / 2 / 72 + 0.06
        span = 2 * np.pi * weight / count
        steps = (0.0,) if node == hierarchy.root else STEPS
        for turn, shift in sorted(product(steps, steps), key=lambda step: abs(step[0]) + abs(step[1])):
            angle, depth = angles[node] + turn / 2 * span, hierarchy.depths[node] + shift
            x, y = depth / deepest * radius * np.cos(angle), depth / deepest * radius * np.sin(angle)
            covers = any(abs(x - left) < half + other and abs(y - low) < height for left, low, other in taken)
            rim = (abs(strips[:, 0] - x) < half + size / 144) & (abs(strips[:, 1] - y) < height / 2 + size / 144)
            if not covers and not rim.any():
                taken.append((x, y, half))
                places[node] = (angle, depth)
                break
    return places


def hierarchy_figure(hierarchy: Hierarchy, title: str, cut: Mapping[str, Sequence[str]] | None = None) -> Figure:
    """Return the tree: the root in the middle, a circle per depth, every leaf's name at the rim, large inner nodes named.

    cut: level to the nodes at which that level's labels are used; they are marked, and what is below has the level's colour.
    """
    angles, weights = layout(hierarchy)
    colors = _colors(hierarchy, branches(hierarchy, weights)) if cut is None else _level_colors(hierarchy, cut)
    deepest = max(hierarchy.depths.values())
    count = len(hierarchy.leaves)
    size = LEAF_POINTS if count > 60 else 8.0
    radius = max(2.2, count * size * LINE_POINTS / (2 * np.pi * 72))  # inches
    margin = 0.2 + max(len(leaf) for leaf in hierarchy.leaves) * size * NAME_WIDTH / 72  # inches for the names
    figure = Figure(figsize=(2 * (radius + margin), 2 * (radius + margin) + 0.4))
    axes = figure.add_axes((0, 0, 1, 1))
    reach = (radius + margin) / radius
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach + 0.4 / radius), aspect="equal")
    axes.axis("off")

    def point(angle: float, depth: float) -> tuple[float, float]:
        return depth / deepest * np.cos(angle), depth / deepest * np.sin(angle)

    lines, shades = [], []
    for child, parent in hierarchy.parents.items():
        depth = hierarchy.depths[parent]
        turn = np.linspace(angles[parent], angles[child], max(2, int(abs(angles[child] - angles[parent]) * 60)))
        lines.append([*(point(angle, depth) for angle in turn), point(angles[child], depth + 1)])
        shades.append(colors[child])
    axes.add_collection(LineCollection(lines, colors=shades, linewidths=0.8))
    for leaf in hierarchy.leaves:
        depth, angle = hierarchy.depths[leaf], angles[leaf]
        if depth < deepest:  # a thread to the name at the rim
            axes.add_collection(
                LineCollection([[point(angle, depth), point(angle, deepest)]], colors="0.85", linewidths=0.4)
            )
        axes.plot(*point(angle, depth), ".", color=colors[leaf], markersize=2.5)
        _text(axes, leaf, angle, 1 + 0.06 / radius, size, colors[leaf])
    for node, (angle, height) in _name_places(hierarchy, angles, weights, radius, size).items():
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": colors[node], "linewidth": 0.6}
        x, y = point(angle, height)
        axes.text(x, y, node, fontsize=size + 2, ha="center", va="center", bbox=box, zorder=3, parse_math=False)
    for level, nodes in (cut or {}).items():
        x, y = np.array([point(angles[node], hierarchy.depths[node]) for node in nodes]).T
        axes.scatter(x, y, s=4 * size, color=colors[nodes[0]], zorder=2, label=f"{level}: {len(nodes)}")
    if cut:
        plain(axes.legend(loc="lower left", fontsize=size + 2, title="level: nodes of the cut").get_texts())
    text = f"{title}: {count} leaves, depth {deepest}"
    figure.suptitle(text, y=1 - 0.1 / (radius + margin), fontsize=10 + radius / 2, parse_math=False)
    return figure
