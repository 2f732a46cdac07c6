"""Steps of training and mapping against a plain PyTorch loop, how far they are from the arithmetic, and with loaders.

Called by scripts/benchmark.py. The plain loop: fp32, contiguous memory, torchvision's loader, `.item()` in each step. All
versions take turns in one process. Besides the clock's time there is the processor's, per thread, which other load on the
machine changes less.
"""

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader

from scripts.benchmark_images import make_jpegs
from scripts.benchmark_loading import UsualImages
from wsol import build_model
from wsol.core.processes import map_beside
from wsol.data.batches import Batch, EpochShuffle, LabeledImages, make_loader
from wsol.data.levels import LevelSplit
from wsol.maps.normalize import normalize_raw_map
from wsol.maps.prediction import predict
from wsol.methods.draws import DrawSource, on_device
from wsol.methods.method import Method
from wsol.networks.device import AMP_DTYPES, autocast, reduced_amp, to_device, use_tf32
from wsol.runs.training import spread_step, start_training
from wsol.sweeps.cost import count_operations

NUM_CLASSES = 37
OPTIONS = {"lr": 1e-3, "lr_classifier_ratio": 10.0, "momentum": 0.9, "weight_decay": 1e-4}
SIDES = {"cpu": 2048, "cuda": 8192}  # of the matrices whose product is timed
DEPTHWISE = "depthwise convolutions"
KINDS = {  # of operations, by a part of their names in torch; the first that fits
    DEPTHWISE: (),
    "other convolutions": ("convolution", "cudnn", "conv2d"),
    "normalisation": ("batch_norm", "layer_norm"),
    "matrix products": ("mm",),
    "activations": ("relu", "hardtanh", "threshold", "silu", "sigmoid", "gelu", "clamp"),
    "pooling": ("pool", "mean"),
    "optimiser": ("sgd",),
    "copies and conversions": ("copy", "memcpy", "fill", "zero", "clone"),
}


@dataclass(frozen=True)
class Case:
    """What is measured: a network with a method, and how its images come."""

    architecture: str
    wsol_method: str
    large_feature_map: bool
    crop_size: int
    batch_size: int
    device: torch.device
    compile: bool
    workers: int
    images: int
    loading: bool
    kind: str  # of benchmark_images.SIZES

    def model(self) -> Method:
        """Return the network with its method and always the same random weights, on the device."""
        torch.manual_seed(0)
        model = build_model(self.architecture, self.wsol_method, NUM_CLASSES, large_feature_map=self.large_feature_map)
        return model.to(self.device)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of its images."""
        return self.crop_size, self.crop_size


@dataclass(frozen=True)
class Version:
    """One way to compute: plainly, or as main.py does, with its options."""

    name: str
    plain: bool = False
    amp: str = "off"
    tf32: bool = False
    compile: bool = False


def versions(case: Case, can_compile: bool) -> list[Version]:
    """Return the versions that make sense on the device, the plain one first."""
    amp = reduced_amp(case.device)
    found = [Version("plain loop", plain=True), Version("default"), Version(f"--amp {amp}", amp=amp)]
    if case.device.type == "cuda":
        found.insert(2, Version("--tf32", tf32=True))
    if case.compile and can_compile:
        found += [Version("--compile", compile=True), Version(f"--amp {amp} --compile", amp=amp, compile=True)]
    return found


def train_step(case: Case, version: Version) -> Callable[[Batch], None]:
    """Return a function that takes one step of SGD on a batch, as main.py does or plainly."""
    model = case.model().train()

    def plain(batch: Batch) -> None:
        use_tf32(False)
        outputs, loss = model.training_step(batch.images.to(case.device), batch.labels.to(case.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        (outputs["logits"].argmax(dim=1) == batch.labels.to(case.device)).sum().item()

    if version.plain:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4, nesterov=True)
        return plain
    model.to(memory_format=torch.channels_last)
    config = {**OPTIONS, "amp": version.amp, "compile": version.compile, "batch_size": case.batch_size}
    whole, state = spread_step(model, config, case.device), start_training(model, config, case.device)

    def ours(batch: Batch) -> None:
        use_tf32(version.tf32)
        draws = on_device(model.draw(DrawSource(0, 1, 0, range(len(batch.labels))), case.size), case.device)
        batch = to_device(batch, case.device)
        with autocast(case.device, version.amp):
            outputs, loss = whole(batch, draws)
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(loss).backward()
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.count(loss.detach(), (outputs["logits"].detach().argmax(dim=1) == batch.labels).sum(), len(batch.labels))

    return ours


def map_step(case: Case, version: Version) -> Callable[[Batch], None]:
    """Return a function that makes the score maps of a batch, as main.py and inference.py do or plainly."""
    model = case.model().eval()

    def plain(batch: Batch) -> None:
        use_tf32(False)
        with torch.no_grad():
            raw_maps = model.score_maps(batch.images.to(case.device), batch.labels.to(case.device))
        for raw_map in raw_maps:
            normalize_raw_map(raw_map.cpu().numpy(), case.size)

    if version.plain:
        return plain
    model.to(memory_format=torch.channels_last)

    def ours(batch: Batch) -> None:
        use_tf32(version.tf32)
        for _ in map_beside(lambda one: one.score_map(), predict(model, [batch], case.device, version.amp, [])):
            pass

    return ours


def wait(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass
class Spent:
    """What each call of a function took: seconds of the clock, of the processor (user, system), and page faults."""

    clock: list[float]
    user: list[float]
    system: list[float]
    faults: list[float]

    def processor(self) -> float:
        """Return the median of the processor's seconds."""
        return statistics.median(a + b for a, b in zip(self.user, self.system, strict=True))


def measured(repeats: int, device: torch.device, functions: Mapping[str, Callable[[], object]]) -> dict[str, Spent]:
    """Return what each function took, after two calls that do not count; the functions take turns."""
    spent = {name: Spent([], [], [], []) for name in functions}
    for turn in range(repeats + 2):
        for name, function in functions.items():
            wait(device)
            before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            function()
            wait(device)
            clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
            if turn < 2:
                continue
            one = spent[name]
            one.clock.append(clock)
            one.user.append(after.ru_utime - before.ru_utime)
            one.system.append(after.ru_stime - before.ru_stime)
            one.faults.append(after.ru_minflt - before.ru_minflt)
    return spent


def matrix_rate(device: torch.device, amp: str, tf32: bool, repeats: int) -> float:
    """Return the operations per second of a large matrix product, as such or as a 1x1 convolution (a CPU: per thread).

    The faster one counts; they may come from different libraries (on a CPU MKL and oneDNN).
    """
    use_tf32(tf32)
    side = SIDES[device.type]
    dtype = AMP_DTYPES.get(amp, torch.float32)
    left, right = torch.randn(2, side, side, device=device).to(dtype)
    image = left.T.reshape(1, side, side // 32, 32).contiguous(memory_format=torch.channels_last)
    weight = right.T[:, :, None, None].contiguous(memory_format=torch.channels_last)
    products = {"matrix": partial(torch.mm, left, right), "convolution": partial(functional.conv2d, image, weight)}
    spent = measured(repeats, device, products)
    return 2 * side**3 / min(_seconds(one, device) for one in spent.values())


def _seconds(spent: Spent, device: torch.device) -> float:
    return spent.processor() / torch.get_num_threads() if device.type == "cpu" else statistics.median(spent.clock)


def compare_versions(
    case: Case, repeats: int, operations: float, made: Mapping[Version, Callable[[Batch], None]], batch: Batch
) -> None:
    """Print what a step takes in every version, the ratios to the plain one, and the share of the matrix rate."""
    device, threads = case.device, torch.get_num_threads()
    spent = measured(repeats, device, {version.name: partial(step, batch) for version, step in made.items()})
    print(
        "| version | ms, clock | ms, processor per thread | of it system | page faults | images/s | ratio, clock | ratio, ",
        end="",
    )
    print("processor | of the matrix rate |\n" + "| --- " * 9 + "|")
    base = spent[next(iter(made)).name]
    for version in made:
        one = spent[version.name]
        clock, processor = statistics.median(one.clock), one.processor() / threads
        rate = matrix_rate(device, version.amp, version.tf32, 3)
        share = 100 * operations * case.batch_size / _seconds(one, device) / rate
        row = [f"{1000 * clock:.1f}", f"{1000 * processor:.1f}", f"{1000 * statistics.median(one.system) / threads:.1f}"]
        row += [f"{statistics.median(one.faults):.0f}", f"{case.batch_size / clock:.1f}"]
        row += [f"{statistics.median(base.clock) / clock:.2f}", f"{base.processor() / threads / processor:.2f}"]
        print(f"| {version.name} | {' | '.join(row)} | {share:.0f} % of {rate / 1e9:.0f} GFLOP/s |", flush=True)


def kind_of(name: str, shapes: Sequence[Sequence[int]] = ()) -> str:
    """Return the kind of an operation of torch with inputs of these shapes; weights (C, 1, h, w) are depthwise ones.

    >>> kind_of("aten::convolution", [[2, 8, 9, 9], [8, 1, 3, 3]]), kind_of("aten::hardtanh_backward"), kind_of("aten::add")
    ('depthwise convolutions', 'activations', 'the rest')
    """
    if "convolution" in name and any(len(shape) == 4 and shape[0] > 1 == shape[1] for shape in shapes):
        return DEPTHWISE
    return next((kind for kind, parts in KINDS.items() if any(part in name.lower() for part in parts)), "the rest")


def where_time_goes(device: torch.device, steps: Mapping[str, Callable[[], object]], repeats: int = 3) -> None:
    """Print the share of every kind of operation in each step's own time, by torch's profiler."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    shares: dict[str, dict[str, float]] = {}
    for name, step in steps.items():
        with profile(activities=activities, record_shapes=True) as profiler:
            for _ in range(repeats):
                step()
            wait(device)
        times: dict[str, float] = {}
        for event in profiler.key_averages(group_by_input_shape=True):
            own = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
            kind = kind_of(event.key, event.input_shapes)
            times[kind] = times.get(kind, 0.0) + own
        shares[name] = {kind: 100 * one / sum(times.values()) for kind, one in times.items()}
    print(f"| percent of the time | {' | '.join(shares)} |\n" + "| --- " * (len(shares) + 1) + "|")
    for kind in (*KINDS, "the rest"):
        print(f"| {kind} | {' | '.join(f'{of.get(kind, 0.0):.0f}' for of in shares.values())} |")


def together(case: Case, repeats: int, made: Mapping[Version, Callable[[Batch], None]], is_training: bool) -> None:
    """Print the images per second of loading alone, computing alone, and both together, over whole epochs of made JPEGs."""
    resize_size = case.crop_size * 256 // 224
    with tempfile.TemporaryDirectory() as name:
        names = make_jpegs(Path(name, "images"), case.images, case.kind)
        split = LevelSplit(names, np.zeros(len(names), dtype=np.int64))
        images = LabeledImages(Path(name, "images"), split, case.crop_size, resize_size if is_training else None)
        shuffle = EpochShuffle(len(names), seed=0) if is_training else None
        ours = make_loader(images, case.batch_size, case.workers, case.device, shuffle)
        plain = UsualImages([Path(name, "images", one) for one in names], resize_size, case.crop_size)
        usual = DataLoader(
            plain, case.batch_size, shuffle=is_training, num_workers=case.workers, persistent_workers=case.workers > 0
        )
        print("| version | loading alone | computing alone | together | of the slower one | ratio |\n" + "| --- " * 6 + "|")
        base = 0.0
        for version, step in made.items():
            batches = partial(map, _as_batch, usual) if version.plain else partial(iter, ours)
            kept = list(batches())
            epochs = {
                "load": partial(_through, batches, lambda _: None),
                "compute": partial(_through, partial(iter, kept), step),
                "both": partial(_through, batches, step),
            }
            spent = measured(repeats, case.device, epochs)
            load, compute, both = (len(names) / statistics.median(spent[name].clock) for name in epochs)
            base = base or both
            row = f"{load:.1f} | {compute:.1f} | {both:.1f} | {100 * both / min(load, compute):.0f} % | {both / base:.2f}"
            print(f"| {version.name} | {row} |", flush=True)


def _as_batch(pair: tuple[torch.Tensor, torch.Tensor]) -> Batch:
    return Batch(*pair, [""] * len(pair[1]), [], range(len(pair[1])))


def _through(batches: Callable[[], Iterable[Batch]], step: Callable[[Batch], object]) -> None:
    for batch in batches():
        step(batch)


def steps(case: Case, repeats: int, is_training: bool) -> None:
    """Print Markdown tables: every version's step, where its time goes, and with the loaders."""
    device, threads = case.device, torch.get_num_threads()
    counted = count_operations(case.architecture, case.wsol_method, case.large_feature_map, case.crop_size)
    operations = counted.forward * (
        3 if is_training else 1
    )  # torch counts a depthwise convolution's backward pass as a whole one
    what = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{os.cpu_count()} cores, {threads} of torch's threads"
    )
    size = "large" if case.large_feature_map else "small"
    print(
        f"{case.architecture} {case.wsol_method}, {case.crop_size} px, {size} map, batches of {case.batch_size}; {what}, ",
        end="",
    )
    print(f"torch {torch.__version__}; {operations / 1e9:.1f} GFLOP per image; medians of {repeats}\n")
    make = train_step if is_training else map_step
    made = {version: make(case, version) for version in versions(case, can_compile=is_training)}
    images = torch.randn(case.batch_size, 3, case.crop_size, case.crop_size, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, torch.arange(case.batch_size) % NUM_CLASSES, [""] * case.batch_size, [], range(case.batch_size))
    compare_versions(case, repeats, operations, made, batch)
    print()
    where_time_goes(device, {version.name: partial(step, batch) for version, step in made.items()})
    if case.loading:
        print(f"\nimages per second, {case.images} JPEGs of the size of {case.kind}, {case.workers} workers\n")
        together(case, max(1, repeats // 5), made, is_training)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory {peak:.0f} MB")
