"""What the benchmarks measure with, and that they run."""

import numpy as np
import pytest
from PIL import Image

from conftest import run
from scripts.benchmark_images import SIZES, make_jpegs


@pytest.mark.parametrize("kind", SIZES)
def test_made_jpegs_have_the_sizes_and_the_spectrum_of_photos(kind, tmp_path):
    names = make_jpegs(tmp_path, 4, kind)
    sizes, slopes = [], []
    for name in names:
        with Image.open(tmp_path / name) as image:
            assert image.format == "JPEG"
            sizes.append(image.size)
            grey = np.asarray(image.convert("L"), dtype=np.float64)
        height, width = grey.shape
        amplitude = np.abs(np.fft.fft2(grey - grey.mean()))
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
        kept = (frequency > 0.02) & (frequency < 0.2)  # not the edges of the image, nor what quantisation takes
        slopes.append(np.polyfit(np.log(frequency[kept]), np.log(amplitude[kept]), 1)[0])
    assert sizes == SIZES[kind]
    assert np.allclose(slopes, -1, atol=0.1)


def test_made_jpegs_depend_on_the_seed_alone(tmp_path):
    first, again, other = (
        [(tmp_path / folder / name).read_bytes() for name in make_jpegs(tmp_path / folder, 2, "ilsvrc", seed)]
        for folder, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert first == again != other


@pytest.mark.slow
def test_the_benchmark_of_loading_runs_and_other_decoders_give_the_same_pixels(tmp_path):
    printed = run("scripts/benchmark.py", "load", "--images", "2", "--repeats", "1", cwd=tmp_path)
    assert printed.count("| square from the cache |") == printed.count("| workers | usual loader |") == 3
    assert printed.count("| decode, torchvision | 0 | 0.000 | 0.0 % |") == 3
    assert not list(tmp_path.iterdir())


def test_a_number_below_1_is_refused(tmp_path):
    assert "--images 0: expected 1 or more" in run("scripts/benchmark.py", "load", "--images", "0", cwd=tmp_path, code=2)
    assert "--repeats 0: expected 1 or more" in run("scripts/benchmark.py", "load", "--repeats", "0", cwd=tmp_path, code=2)
