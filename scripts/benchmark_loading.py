"""Loading: what each step of it takes, how decoders differ, and whole loaders against the usual one of torchvision.

Called by scripts/benchmark.py. The images are made by scripts/benchmark_images.py and are in the system's page cache, so
reading them is the best case of a disk. Steps are timed by the processor's time, which other load on the machine changes
less; whole loaders by the clock.
"""

import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import PIL
import torch
import torchvision
from PIL import Image, features
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from scripts.benchmark_images import SIZES, make_jpegs
from scripts.benchmark_methods import medians
from wsol.data.batches import EpochShuffle, LabeledImages, make_loader
from wsol.data.crops import Crop
from wsol.data.image_cache import ImageCache
from wsol.data.images import FULL, REDUCED, read_image
from wsol.data.levels import LevelSplit
from wsol.data.preprocessing import IMAGENET, resize
from wsol.data.reading import ImageReader

SIDES = {"ilsvrc": (256, 224), "inaturalist": (256, 224), "ilsvrc, small input": (144, 128)}  # resize_size, crop_size
BATCH = 32
CPU = torch.device("cpu")


class UsualImages(Dataset):
    """Images as a plain training script reads them: Pillow and torchvision's transforms."""

    def __init__(self, paths: list[Path], resize_size: int, crop_size: int):
        self.paths = paths
        self.transform = v2.Compose(
            [
                v2.Resize((resize_size, resize_size)),
                v2.RandomCrop(crop_size),
                v2.RandomHorizontalFlip(),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(IMAGENET.mean, IMAGENET.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.open(self.paths[index]).convert("RGB")), 0


def loading(num_images: int, repeats: int) -> None:
    """Print Markdown tables for every kind of images."""
    turbo = features.version_feature("libjpeg_turbo")
    print(f"Pillow {PIL.__version__} (libjpeg-turbo {turbo or 'not used'}), torchvision {torchvision.__version__}, ", end="")
    print(f"OpenCV {cv2.__version__}, {torch.get_num_threads()} thread, {num_images} JPEGs, medians of {repeats}")
    for kind, sides in SIDES.items():
        with tempfile.TemporaryDirectory() as folder:
            names = make_jpegs(Path(folder, "images"), num_images, kind.partition(",")[0])
            paths = [Path(folder, "images", name) for name in names]
            num_bytes = statistics.median(path.stat().st_size for path in paths)
            typical = "{} x {}".format(*SIZES[kind.partition(",")[0]][0])
            print(f"\n{kind}: {typical}, {num_bytes / 1000:.0f} kB; resized to {sides[0]}, cropped to {sides[1]}\n")
            steps(paths, sides, Path(folder, "steps"), repeats)
            print()
            differences(paths, sides)
            print()
            loaders(paths, sides, Path(folder), repeats)


def _for_each(function: Callable, items: list) -> Callable[[], None]:
    def run() -> None:
        for item in items:
            function(item)

    return run


def _decode_pillow(data: bytes, least_side: int | None = None) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    if least_side:
        image.draft(None, (least_side, least_side))
    return image.convert("RGB")


def _decode_torchvision(data: bytes) -> np.ndarray:
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return torchvision.io.decode_jpeg(encoded, mode=torchvision.io.ImageReadMode.RGB).permute(1, 2, 0).numpy()


def _decode_opencv(data: bytes, flag: int = cv2.IMREAD_COLOR_RGB) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flag))


def _planes(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _resize_tensor(planes: torch.Tensor, side: int) -> torch.Tensor:
    return v2.functional.resize(planes, [side, side], antialias=True)


def _resize_crop(image: Image.Image, crop: Crop) -> Image.Image:
    scale = np.array([image.width, image.height] * 2) / crop.resize_size
    corners = np.array([crop.left, crop.top, crop.left + crop.crop_size, crop.top + crop.crop_size])
    return image.resize((crop.crop_size, crop.crop_size), Image.Resampling.BILINEAR, tuple(corners * scale))


def steps(paths: list[Path], sides: tuple[int, int], folder: Path, repeats: int) -> None:
    """Print the processor's time of every step by itself, one image at a time; `folder`: for the entries of caches."""
    side, crop_size = sides
    data = [path.read_bytes() for path in paths]
    decoded = [_decode_pillow(one) for one in data]
    squares = [resize(one, side) for one in decoded]
    crop = Crop(side, crop_size, 5, 9, flipped=True)
    tensors = [IMAGENET.normalize(crop.cut(one)) for one in squares[:BATCH]]
    reader = ImageReader(paths[0].parent, cache=ImageCache(folder / "cache"))
    arrays, pngs = folder / "arrays", folder / "pngs"
    for other in (arrays, pngs):
        other.mkdir(parents=True)
    for path, square in zip(paths, squares, strict=True):
        reader.square(path.name, side)
        np.save(arrays / f"{path.name}.npy", np.asarray(square))
        square.save(pngs / f"{path.name}.png", compress_level=1)
    names = [path.name for path in paths]
    draft = f", reduced to {side} or more"
    timed: dict[str, Callable[[], object]] = {
        "read the file": _for_each(Path.read_bytes, paths),
        "decode, Pillow": _for_each(_decode_pillow, data),
        "decode, torchvision": _for_each(_decode_torchvision, data),
        "decode, OpenCV": _for_each(_decode_opencv, data),
        f"decode, Pillow{draft}": _for_each(partial(_decode_pillow, least_side=side), data),
        "decode, OpenCV, half the size": _for_each(partial(_decode_opencv, flag=cv2.IMREAD_REDUCED_COLOR_2), data),
        "resize": _for_each(partial(resize, size=side), decoded),
        "resize, torchvision's of uint8 tensors": _for_each(partial(_resize_tensor, side=side), list(map(_planes, decoded))),
        "resize the crop alone": _for_each(partial(_resize_crop, crop=crop), decoded),
        "crop, flip, normalise": _for_each(lambda one: IMAGENET.normalize(crop.cut(one)), squares),
        f"stack {len(tensors)} images": partial(torch.stack, tensors),
        "square from the cache": _for_each(partial(reader.square, side=side), names),
        "square from a .npy": _for_each(lambda one: Image.fromarray(np.load(arrays / f"{one}.npy")), names),
        "square from a PNG": _for_each(lambda one: read_image(pngs / f"{one}.png"), names),
    }
    spent_by_each = medians(repeats, *timed.values(), clock=time.process_time)
    counts = {name: len(tensors) if name.startswith("stack") else len(paths) for name in timed}
    print("| step | ms per image | images/s |\n| --- | --- | --- |")
    for (name, count), spent in zip(counts.items(), spent_by_each, strict=True):
        print(f"| {name} | {spent / count:.3f} | {1000 * count / spent:.0f} |", flush=True)
    for what, files in {"cache": folder / "cache", ".npy": arrays, "PNG": pngs}.items():
        sizes = [path.stat().st_size for path in files.rglob("*") if path.is_file()]
        print(f"\n{what}: {statistics.mean(sizes) / 1000:.0f} kB per image", end="")
    print()


def differences(paths: list[Path], sides: tuple[int, int]) -> None:
    """Print how far the pixels of other ways are from ours."""
    side, crop_size = sides
    crop = Crop(side, crop_size, 5, 9, flipped=False)
    found: dict[str, list[np.ndarray]] = {}
    for path in paths:
        data = path.read_bytes()
        image = _decode_pillow(data)
        whole, square = np.asarray(image, dtype=int), resize(image, side)
        for name, ours, other in (
            ("decode, torchvision", whole, _decode_torchvision(data)),
            ("decode, OpenCV", whole, _decode_opencv(data)),
            ("resize, torchvision's of uint8 tensors", square, _resize_tensor(_planes(image), side).permute(1, 2, 0)),
            ("resize the crop alone", crop.cut(square), _resize_crop(image, crop)),
            ("decode reduced and resize", square, ImageReader(path.parent, decode_scale=REDUCED).square(path.name, side)[0]),
        ):
            found.setdefault(name, []).append(np.abs(np.asarray(ours, dtype=int) - np.asarray(other)).ravel())
    print("| instead of ours | largest difference in grey levels | mean | values that differ |\n" + "| --- " * 4 + "|")
    for name, each in found.items():
        all_of_them = np.concatenate(each)
        share = 100 * (all_of_them > 0).mean()
        print(f"| {name} | {all_of_them.max()} | {all_of_them.mean():.3f} | {share:.1f} % |", flush=True)


def loaders(paths: list[Path], sides: tuple[int, int], folder: Path, repeats: int) -> None:
    """Print the images per second of whole epochs, with 0, 1 and 2 workers, and the ratios to the usual loader."""
    side, crop_size = sides
    split = LevelSplit([path.name for path in paths], np.zeros(len(paths), dtype=np.int64))

    def ours(workers: int, decode_scale: str = FULL, cache: Path | None = None) -> DataLoader:
        images = LabeledImages(folder / "images", split, crop_size, side, decode_scale=decode_scale, cache_images=cache)
        return make_loader(images, BATCH, workers, CPU, EpochShuffle(len(paths), seed=0))

    print("| workers | usual loader | this loader | ratio | reduced decoding | ratio | warm cache | ratio |")
    print("| --- " * 8 + "|")
    for workers in (0, 1, 2):
        made: dict[str, DataLoader] = {
            "usual": DataLoader(
                UsualImages(paths, side, crop_size), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
            ),
            "full": ours(workers),
            "reduced": ours(workers, REDUCED),
            "cache": ours(workers, cache=folder / "cache"),
        }
        rates = _rates(made, len(paths), repeats)
        row = [f"{rates['usual']:.0f}"]
        for name in ("full", "reduced", "cache"):
            row += [f"{rates[name]:.0f}", f"{rates[name] / rates['usual']:.2f}"]
        print(f"| {workers} | {' | '.join(row)} |", flush=True)


def _rates(loaders: Mapping[str, Iterable], num_images: int, repeats: int) -> dict[str, float]:
    """Return the median images per second of each loader, after a first epoch that starts processes and fills the cache."""

    def epoch(loader: Iterable) -> None:
        for _ in loader:
            pass

    functions = [partial(epoch, loader) for loader in loaders.values()]
    for function in functions:
        function()
    spent = medians(repeats, *functions)
    return {name: 1000 * num_images / one for name, one in zip(loaders, spent, strict=True)}
