"""HaS: hide-and-seek (Singh and Lee, "Hide-and-Seek: Forcing a Network to be Meticulous ...", ICCV 2017).

Changes the input: in training, random cells of a grid are hidden. Everything else is CAM.
"""

import torch

from wsol.backbone import Backbone
from wsol.cam import CAM
from wsol.method import Outputs


def draw_hidden_cells(
    images: torch.Tensor, grid_size: int, drop_rate: float, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Return bool (B, rows, columns): which cells of `grid_size` pixels to hide, each with probability `drop_rate`.

    Cells are counted from the top left; those at the right and bottom edge may be cut.
    """
    batch, _, height, width = images.shape
    cells = (batch, -(-height // grid_size), -(-width // grid_size))
    return torch.rand(cells, generator=generator, device=images.device) < drop_rate


def hide_cells(images: torch.Tensor, hidden: torch.Tensor, grid_size: int) -> torch.Tensor:
    """Return images (B, C, H, W) with the hidden cells (B, rows, columns) zero in all channels."""
    height, width = images.shape[2:]
    rows = hidden.repeat_interleave(min(grid_size, height), dim=1)  # a larger cell is one that covers the image
    pixels = rows.repeat_interleave(min(grid_size, width), dim=2)
    return images.masked_fill(pixels[:, None, :height, :width], 0)


class HaS(CAM):
    """CAM on images with hidden cells; they are hidden after normalisation, so that zero is the mean colour."""

    def __init__(self, backbone: Backbone, num_classes: int, *, has_grid_size: int = 4, has_drop_rate: float = 0.5):
        super().__init__(backbone, num_classes)
        self.grid_size, self.drop_rate = has_grid_size, has_drop_rate

    def training_step(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[Outputs, torch.Tensor]:
        """Return outputs and loss of the images with hidden cells."""
        if self.grid_size:
            hidden = draw_hidden_cells(images, self.grid_size, self.drop_rate, self.generator)
            images = hide_cells(images, hidden, self.grid_size)
        return super().training_step(images, labels)
