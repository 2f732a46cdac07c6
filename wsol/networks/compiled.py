"""Compiling a training step with torch.compile, and refusing to where that cannot work.

In: the step as a module. Out: a module that is faster on batches of the usual size.
"""

import logging
import os
import shutil
from collections import Counter

import torch
from torch import nn

from wsol.core.errors import OptionError, reason
from wsol.data.batches import Batch
from wsol.networks import ranks

COMPILERS = ("g++", "clang++")

logger = logging.getLogger("wsol")


def require_compiler(device: torch.device) -> None:
    """Check that torch.compile works on a device, on one tiny function.

    Raises:
        OptionError: there is no C++ compiler, or it does not work, or there are several ranks.
    """
    if ranks.size() > 1:
        raise OptionError("compile", "TRUE", "expected FALSE with several processes, whose steps were never compiled yet")
    named = os.environ.get("CXX")
    compilers = (named,) if named else COMPILERS
    if not any(map(shutil.which, compilers)):
        expected = f"expected {' or '.join(compilers)}, or FALSE"
        raise OptionError("compile", "TRUE", f"there is no C++ compiler here, which torch.compile needs; {expected}")
    try:
        torch.compile(_double)(torch.ones(2, device=device))
    except Exception as error:  # noqa: BLE001 (compilers fail in many ways: no headers, no linker, no space)
        raise OptionError("compile", "TRUE", f"torch.compile does not work here ({reason(error)}); expected FALSE") from None


def _double(numbers: torch.Tensor) -> torch.Tensor:
    return 2 * numbers


class CompiledStep(nn.Module):
    """A training step, compiled for batches of one size. Others, such as an epoch's last, take the step as it is.

    Compiling for another size takes minutes, and would save less than a second in every epoch. `step` keeps the names of
    its parameters.
    """

    def __init__(self, step: nn.Module, batch_size: int, backend: str = "inductor"):
        super().__init__()
        self.step, self.batch_size = step, batch_size
        self.compiled = torch.compile(step, dynamic=False, backend=backend)
        self.is_compiled = False  # the first step of the usual size compiles

    def forward(self, batch: Batch, *draws: dict[str, torch.Tensor] | None) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return outputs and loss of a batch, as the step does."""
        if len(batch.labels) != self.batch_size:
            return self.step(batch, *draws)
        if self.is_compiled:
            return self.compiled(batch, *draws)
        _counters().clear()
        outputs, loss = self.compiled(batch, *draws)
        self.is_compiled = True
        logger.info(describe_graphs())
        return outputs, loss


def _counters() -> dict[str, Counter]:
    from torch._dynamo.utils import counters  # takes a second to load, which only a compiled run needs

    return counters


def describe_graphs() -> str:
    """Return a line about the graphs of the compiled step: their number, and what breaks there were, and why."""
    counters = _counters()
    breaks = counters["graph_break"]
    said = "; ".join(f"{count} x {why.splitlines()[0]}" for why, count in breaks.items())
    return f"compiled: {counters['stats']['unique_graphs']} graphs, {sum(breaks.values())} breaks{f' ({said})' * bool(said)}"
