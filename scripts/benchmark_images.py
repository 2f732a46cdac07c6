"""Photos to measure with, made on the spot: JPEGs of the sizes of ILSVRC and iNaturalist, with the spectrum of photos.

Called by the benchmarks. How long a JPEG takes to read and decode depends on its pixels and its bytes. The amplitude of
natural images falls as 1 / f (Field, 1987), and so does theirs, in luminance and, weaker, in colour; this gives 0.5 to 0.9
bytes per pixel, as of photos at these qualities.
"""

from pathlib import Path

import numpy as np
from PIL import Image

SIZES: dict[str, list[tuple[int, int]]] = {  # (width, height): what is typical, and other shapes among it
    "ilsvrc": [(500, 375), (500, 375), (500, 333), (375, 500)],
    "inaturalist": [(800, 600), (800, 600), (1024, 768), (600, 800)],
}
QUALITIES = (85, 90, 95)
CONTRAST = np.array([55.0, 18.0, 12.0])  # standard deviation of luminance and of two colour differences, in grey levels
TO_RGB = np.array([[1, 1, 1], [1, 0, -1], [-0.5, 1, -0.5]])


def pink_noise(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Return float64 (height, width), mean 0 and standard deviation 1, whose amplitude falls as 1 / f."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / frequency
    noise = np.fft.irfft2(spectrum, s=(height, width))
    return noise / noise.std()


def photo_like(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Return an RGB image of pink noise, in luminance and colour."""
    planes = np.stack([pink_noise(width, height, rng) for _ in CONTRAST], axis=-1) * CONTRAST
    return Image.fromarray((128 + planes @ TO_RGB).clip(0, 255).astype(np.uint8))


def make_jpegs(folder: Path, count: int, kind: str, seed: int = 0) -> list[str]:
    """Write JPEGs into a folder, made if it is missing; return their names, in order.

    kind: a key of SIZES. The same seed gives the same images, of which sizes and qualities (85, 90, 95) take turns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng, names = np.random.default_rng(seed), []
    for number in range(count):
        names.append(f"{kind}_{number:05d}.jpg")
        image = photo_like(*SIZES[kind][number % len(SIZES[kind])], rng)
        image.save(folder / names[-1], quality=QUALITIES[number % len(QUALITIES)])
    return names
