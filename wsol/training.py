"""What one training step computes, as a module that wrappers and compilers see whole."""

import torch
from torch import nn

from wsol.batch import Batch
from wsol.draws import Draws
from wsol.method import Method, Outputs


class TrainingStep(nn.Module):
    """A model's step in training: forward pass and loss in one `forward`, for DistributedDataParallel and torch.compile."""

    def __init__(self, model: Method):
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, draws: Draws | None = None) -> tuple[Outputs, torch.Tensor]:
        """Return outputs and loss of a batch on the model's device; `draws` as of `Method.training_step`."""
        return self.model.training_step(batch.images, batch.labels, draws)
