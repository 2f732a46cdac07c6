"""Training steps of HaS, CutMix and SPG: the operations on whole batches against plain loops over images and cells.

Called by scripts/benchmark.py. The plain versions take the same draws and give the same result; the tests compare with them
too.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from unittest import mock

import numpy as np
import torch
from torch.nn import functional

from wsol import build_model, cutmix, has, spg
from wsol.method import Method

BATCH, SIDE, CLASSES = 16, 224, 10


def hide_cells_plainly(images: torch.Tensor, hidden: torch.Tensor, grid_size: int) -> torch.Tensor:
    """Return images with the hidden cells zero, cell by cell."""
    images = images.clone()
    for image, cells in zip(images, hidden.tolist(), strict=True):
        for row, columns in enumerate(cells):
            for column, hide in enumerate(columns):
                if hide:
                    top, left = row * grid_size, column * grid_size
                    image[:, top : top + grid_size, left : left + grid_size] = 0
    return images


def mix_plainly(images: torch.Tensor, draw: cutmix.CutMixDraw) -> tuple[torch.Tensor, float]:
    """Return mixed images and the ratio that the real box leaves them, image by image."""
    height, width = images.shape[2:]
    ratio, x, y = (value.item() for value in draw[1:])
    half_width, half_height = int(width * (1 - ratio) ** 0.5) // 2, int(height * (1 - ratio) ** 0.5) // 2
    centre_x, centre_y = int(x * width), int(y * height)
    left, right = max(centre_x - half_width, 0), min(centre_x + half_width, width)
    top, bottom = max(centre_y - half_height, 0), min(centre_y + half_height, height)
    mixed = images.clone()
    for i, partner in enumerate(draw.partners.tolist()):
        mixed[i, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    return mixed, 1 - (right - left) * (bottom - top) / (height * width)


def guided_loss_plainly(logits: torch.Tensor, maps: torch.Tensor, high: float, low: float) -> torch.Tensor:
    """Return SPG's guided loss, image by image: ignored pixels are 255, the others 0 or 1."""
    targets = []
    for one in maps:
        target = torch.full_like(one, 255)
        if int((one > high).sum()) < spg.FEWEST:
            target[one > spg.PEAK * float(one.max())] = 1
        else:
            target[one > high] = 1
        target[one < low] = 0
        targets.append(target)
    target = torch.stack(targets)
    kept = target < 255
    if not bool(kept.any()):
        return torch.zeros(())
    return functional.binary_cross_entropy_with_logits(logits[kept], target[kept])


def _medians(repeats: int, *functions: Callable[[], object]) -> list[float]:
    """Return the median milliseconds of each; they take turns, so that whatever else the machine does hits all alike."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, spent in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            spent.append((time.perf_counter() - start) * 1000)
    return [statistics.median(spent) for spent in times]


def methods(repeats: int) -> None:
    """Print a Markdown table of medians: each operation alone, and the whole training step of ResNet-18 with it."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, SIDE, SIDE, generator=generator)
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    cells = has.draw_hidden_cells(images, 4, 0.5, generator)
    draw = cutmix.draw_cutmix(BATCH, 1.0, 1.0, images.device, generator)
    logits = torch.randn(BATCH, SIDE, SIDE, generator=generator)
    smooth = np.linspace(0, 1, SIDE, dtype=np.float32)
    maps = torch.from_numpy(smooth[:, None] * smooth).expand(BATCH, SIDE, SIDE).contiguous()
    cases = {
        "has": (has, "hide_cells", hide_cells_plainly, (images, cells, 4)),
        "cutmix": (cutmix, "mix", mix_plainly, (images, draw)),
        "spg": (spg, "guided_loss", guided_loss_plainly, (logits, maps, 0.7, 0.1)),
    }
    print(f"batches of {BATCH} images of {SIDE} x {SIDE}, {torch.get_num_threads()} thread, milliseconds\n")
    print("| method | operation, plain | fast | ratio | step, plain | fast |\n| --- | --- | --- | --- | --- | --- |")
    for name, (module, operation, plain, arguments) in cases.items():
        fast = getattr(module, operation)
        model = build_model("resnet18", name, CLASSES).train()
        model.generator = generator

        def step(version: Callable, module: object = module, operation: str = operation, model: Method = model) -> None:
            model.zero_grad(set_to_none=True)
            with mock.patch.object(module, operation, version):
                model.training_step(images, labels)[1].backward()

        alone = _medians(repeats, partial(plain, *arguments), partial(fast, *arguments))
        steps = _medians(max(1, repeats // 2), partial(step, plain), partial(step, fast))
        ratio = alone[0] / alone[1]
        print(f"| {name} | {alone[0]:.1f} | {alone[1]:.2f} | {ratio:.1f} | {steps[0]:.0f} | {steps[1]:.0f} |", flush=True)
