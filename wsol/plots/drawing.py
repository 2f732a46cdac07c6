"""What figures share: photos in their own proportions, boxes that are visible on any photo, names, files.

Colours can be told apart with any colour vision; line styles and markers still differ in grey.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, withStroke
from matplotlib.text import Text
from PIL import Image

from wsol.core.files import whole_file

MAP_COLORS = "inferno"  # of score maps: brightness rises with the score
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito (2008)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SHOWN_PIXELS = 400  # a photo's longer side: more would only make the file larger
INSET = 0.012  # of the photo's longer side: the least distance of a box from the photo's frame
LINE = 1.6  # points


@dataclass(frozen=True)
class BoxStyle:
    """How one kind of box is drawn: over a dark edge, in a colour, solid or dashed."""

    name: str
    color: str
    dashes: tuple[int, ...] = ()

    def handle(self) -> Line2D:
        """Return its entry in a legend."""
        line = Line2D([], [], color=self.color, linewidth=LINE, label=self.name)
        line.set_linestyle((0, self.dashes) if self.dashes else "-")
        line.set_path_effects([withStroke(linewidth=LINE + 2, foreground="black"), Normal()])
        return line


TRUE_BOX = BoxStyle("true box", "#00e5ff")
PREDICTED_BOX = BoxStyle("predicted box", "white", (3, 2))


def show_photo(axes: Axes, photo: Image.Image) -> None:
    """Show a photo in its own proportions; the axes' coordinates are its pixels, from (0, 0) to (width, height)."""
    width, height = photo.size
    small = photo.copy()
    small.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
    axes.imshow(small, extent=(0, width, height, 0))
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))


def draw_boxes(axes: Axes, boxes: Iterable[Sequence[float]], size: tuple[int, int], style: BoxStyle = TRUE_BOX) -> None:
    """Draw boxes (x0, y0, x1, y1) in the pixels of a photo of `size` (width, height); a box at the photo's frame is moved
    inwards, so that it is visible."""
    inset = INSET * max(size)
    for box in boxes:
        x0, y0, x1, y1 = (min(max(float(edge), inset), side - inset) for edge, side in zip(box, (*size, *size), strict=True))
        outline = partial(Rectangle, (x0, y0), x1 - x0, y1 - y0, fill=False, joinstyle="miter")
        if style.dashes:  # an edge by path effects would be dashed, too
            axes.add_patch(outline(edgecolor="black", linewidth=LINE + 2))
        patch = axes.add_patch(outline(edgecolor=style.color, linewidth=LINE))
        patch.set_linestyle((0, style.dashes) if style.dashes else "-")
        if not style.dashes:
            patch.set_path_effects([withStroke(linewidth=LINE + 2, foreground="black"), Normal()])


def wrapped(name: str, width: int, lines: int = 3) -> str:
    """Return a name in lines of at most `width` letters, cut after `lines`; it breaks after a space, /, _ or - if it can."""
    rows = [""]
    for piece in re.findall(r"[^ /_-]*[ /_-]|[^ /_-]+", name):
        if rows[-1] and len((rows[-1] + piece).rstrip()) > width:
            rows.append("")
        rows[-1] += piece
        while len(rows[-1].rstrip()) > width:
            rows[-1:] = [rows[-1][:width], rows[-1][width:]]
    if len(rows) > lines:
        rows[lines - 1 :] = [rows[lines - 1][: width - 3] + "..."]
    return "\n".join(row.rstrip() for row in rows)


def plain(texts: Iterable[Text]) -> None:
    """Show texts literally: a name with dollar signs is not a formula."""
    for text in texts:
        text.set_parse_math(False)


def save_figure(figure: Figure, path: str | os.PathLike, dpi: int = 110) -> None:
    """Write a figure whole, in the format of the file's extension."""
    with whole_file(path) as temporary, mpl.rc_context({"pdf.fonttype": 42}):  # TrueType, which publishers ask for
        figure.savefig(temporary, format=Path(path).suffix[1:], dpi=dpi)
