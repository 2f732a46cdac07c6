"""What HaS, CutMix and SPG do in training: the operations on whole batches against plain loops over images and cells.

Called by scripts/benchmark.py. The plain versions take the same draws and give the same result; the tests compare with them
too.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from types import ModuleType
from unittest import mock

import numpy as np
import torch
from torch.nn import functional

from wsol import build_model
from wsol.methods import cutmix, has, spg
from wsol.methods.draws import DrawSource

BATCH, SIDE, NUM_CLASSES = 16, 224, 10


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


def medians(repeats: int, *functions: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Return the median milliseconds of each; they take turns, so that other load on the machine affects all alike."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, spent in zip(functions, times, strict=True):
            start = clock()
            function()
            spent.append((clock() - start) * 1000)
    return [statistics.median(spent) for spent in times]


def training_step(method: str, images: torch.Tensor, place: tuple[object, str]) -> Callable[[Callable], None]:
    """Return a function that does one training step of a ResNet-18, with its argument in the operation's place.

    Every step draws the same: forward, loss, backward and SGD, channels last, as in a run.
    """
    torch.manual_seed(0)
    model = build_model("resnet18", method, NUM_CLASSES).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(len(images)) % NUM_CLASSES

    draws = model.draw(DrawSource(0, 1, 0, range(len(images))), (SIDE, SIDE))

    def step(operation: Callable) -> None:
        with mock.patch.object(*place, operation):
            loss = model.training_step(images, labels, draws)[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def methods(repeats: int) -> None:
    """Print a Markdown table of medians: of each operation by itself, and of the whole training step that contains it."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, SIDE, SIDE, generator=generator)
    rng = np.random.default_rng(0)
    cells = torch.stack([has.draw_hidden_cells((SIDE, SIDE), 4, 0.5, rng) for _ in range(BATCH)])
    draw = cutmix.draw_cutmix(BATCH, 1.0, 1.0, rng)
    logits = torch.randn(BATCH, SIDE, SIDE, generator=generator)
    smooth = np.linspace(0, 1, SIDE, dtype=np.float32)
    maps = torch.from_numpy(smooth[:, None] * smooth).expand(BATCH, SIDE, SIDE).contiguous()
    cases: dict[str, tuple[tuple[ModuleType, str], Callable, tuple]] = {
        "has": ((has, "hide_cells"), hide_cells_plainly, (images, cells, 4)),
        "cutmix": ((cutmix, "mix"), mix_plainly, (images, draw)),
        "spg": ((spg, "guided_loss"), guided_loss_plainly, (logits, maps, 0.7, 0.1)),
    }
    print(f"batches of {BATCH} images of {SIDE} x {SIDE}, {torch.get_num_threads()} thread, milliseconds\n")
    print("| method | what | plain | fast | saved | ratio |\n" + "| --- " * 6 + "|")
    for name, (place, plain, arguments) in cases.items():
        fast = getattr(*place)
        step = training_step(name, images, place)
        for what, both in (
            ("operation", (partial(plain, *arguments), partial(fast, *arguments))),
            ("step", (partial(step, plain), partial(step, fast))),
        ):
            slow, quick = medians(repeats, *both)
            print(f"| {name} | {what} | {slow:.1f} | {quick:.1f} | {slow - quick:.1f} | {slow / quick:.2f} |", flush=True)
