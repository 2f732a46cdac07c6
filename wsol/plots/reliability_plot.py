"""Reliability diagrams: what was predicted against what happened.

In: `Reliability` by name. Out: a figure, one panel each.
"""

from collections.abc import Mapping

from matplotlib.figure import Figure

from wsol.metrics.reliability import Reliability
from wsol.plots.drawing import COLORS


def reliability_figure(panels: Mapping[str, Mapping[str, Reliability]]) -> Figure:
    """Return a figure with one panel per quantity; in it one line per way of predicting it, through the means of its bins.

    A marker's area grows with the images of its bin. On the diagonal, predictions come true.
    """
    figure = Figure(figsize=(4.2 * len(panels), 4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for place, (quantity, ways) in zip(axes, panels.items(), strict=True):
        place.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
        for (name, found), color in zip(ways.items(), COLORS, strict=False):
            total = sum(one.images for one in found.bins)
            points = [(one.predicted, one.observed) for one in found.bins]
            place.plot(*zip(*points, strict=True), color=color, linewidth=1.2, label=name)
            place.scatter(*zip(*points, strict=True), s=[10 + 150 * one.images / total for one in found.bins], color=color)
        place.set(xlim=(0, 1), ylim=(0, 1), xlabel=f"predicted {quantity}", ylabel=f"observed {quantity}", aspect="equal")
        place.legend(loc="upper left", frameon=False, fontsize=8)
    return figure
