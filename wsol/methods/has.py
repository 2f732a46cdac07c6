"""HaS: hide-and-seek (Singh and Lee, "Hide-and-Seek: Forcing a Network to be Meticulous ...", ICCV 2017).

Changes the input: in training, random cells of a grid are hidden. Everything else is CAM.
"""

import numpy as np
import torch

from wsol.methods.cam import CAM
from wsol.methods.draws import Draws, DrawSource
from wsol.methods.method import Outputs
from wsol.networks.backbone import Backbone


def draw_hidden_cells(size: tuple[int, int], grid_size: int, drop_rate: float, rng: np.random.Generator) -> torch.Tensor:
    """Return bool (rows, columns): the cells to hide in one image of (height, width), each with probability `drop_rate`.

    Cells have `grid_size` pixels per side and start at the top left; those at the right and bottom edges may be cut off.
    """
    height, width = size
    return torch.from_numpy(rng.random((-(-height // grid_size), -(-width // grid_size))) < drop_rate)


def hide_cells(images: torch.Tensor, hidden: torch.Tensor, grid_size: int) -> torch.Tensor:
    """Return images (B, C, H, W), zero in all channels in the hidden cells (B, rows, columns).

    >>> hide_cells(torch.ones(1, 1, 1, 5), torch.tensor([[[False, True, False]]]), grid_size=2).flatten().tolist()
    [1.0, 1.0, 0.0, 0.0, 1.0]
    """
    height, width = images.shape[2:]
    rows = hidden.repeat_interleave(min(grid_size, height), dim=1)  # a larger cell covers the whole image
    pixels = rows.repeat_interleave(min(grid_size, width), dim=2)
    return images.masked_fill(pixels[:, None, :height, :width], 0)


class HaS(CAM):
    """CAM on images with hidden cells. They are hidden after normalisation, where zero is the mean colour."""

    def __init__(self, backbone: Backbone, num_classes: int, *, has_grid_size: int = 4, has_drop_rate: float = 0.5):
        super().__init__(backbone, num_classes)
        self.grid_size, self.drop_rate = has_grid_size, has_drop_rate

    def draw(self, source: DrawSource, size: tuple[int, int]) -> Draws:
        """Return "hidden", bool (B, rows, columns): the cells to hide, drawn per image."""
        if not self.grid_size:
            return {}
        cells = [draw_hidden_cells(size, self.grid_size, self.drop_rate, rng) for rng in source.of_images()]
        rows, columns = (-(-side // self.grid_size) for side in size)
        return {"hidden": torch.stack(cells) if cells else torch.zeros(0, rows, columns, dtype=torch.bool)}

    def step(self, images: torch.Tensor, labels: torch.Tensor, draws: Draws) -> tuple[Outputs, torch.Tensor]:
        """Return outputs and loss of the images with hidden cells."""
        if self.grid_size:
            images = hide_cells(images, draws["hidden"], self.grid_size)
        return super().step(images, labels, draws)
