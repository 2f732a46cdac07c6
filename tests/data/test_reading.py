"""Images resized to a square: decoded at a reduced scale, and kept in a cache, which never changes what is read."""

import logging
import multiprocessing
import os
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import functional as tvf

from samples import bad_split, full_disk
from wsol.core.errors import InputError
from wsol.core.files import temporary_sibling
from wsol.data import image_cache, reading
from wsol.data.batches import EpochShuffle, LabeledImages, make_loader
from wsol.data.image_cache import ImageCache, Source, Square
from wsol.data.images import FULL, REDUCED, read_image
from wsol.data.levels import LevelSplit
from wsol.data.reading import ImageReader


def smooth(width, height):
    """A photo without fine detail, of which a reduced one loses nothing."""
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    waves = np.stack([np.sin(5 * x + 1), np.cos(4 * y), np.sin(3 * (x + y))], axis=-1)
    return Image.fromarray((127 + 120 * waves).astype(np.uint8))


def noise(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def pixels(square):
    return square.size, np.asarray(square.image).tolist()


def plainly(path, side):
    """As torchvision resizes what Pillow decodes."""
    with Image.open(path) as image:
        return image.size, np.asarray(tvf.resize(image.convert("RGB"), [side, side], antialias=True)).tolist()


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def cached(tmp_path):
    return ImageReader(tmp_path / "photos", cache=ImageCache(tmp_path / "cache"))


@pytest.fixture
def photo(tmp_path):
    (tmp_path / "photos" / "x, y").mkdir(parents=True)
    path = tmp_path / "photos" / "x, y" / "ä.jpg"
    noise(60, 45).save(path, quality=90)
    return path


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded, in order."""
    seen, own = [], reading.read_image

    def read(path, *options):
        seen.append(path.name)
        return own(path, *options)

    monkeypatch.setattr(reading, "read_image", read)
    return seen


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    side=st.integers(1, 40),
    mode=st.sampled_from(["RGB", "L", "CMYK", "P", "RGBA"]),
    seed=st.integers(0, 9),
)
def test_a_square_is_what_pillow_and_torchvision_give_afresh_and_from_the_cache(tmp_path, width, height, side, mode, seed):
    name = f"a.{'png' if mode in ('P', 'RGBA') else 'jpg'}"
    noise(width, height, seed).convert(mode).save(tmp_path / name)
    expected = plainly(tmp_path / name, side)
    assert pixels(ImageReader(tmp_path).square(name, side)) == expected
    reader = ImageReader(tmp_path, cache=ImageCache(tmp_path / "cache"))
    for _ in range(2):
        assert pixels(reader.square(name, side)) == expected


def test_what_is_kept_is_not_decoded_again_by_this_reader_or_another(cached, photo, decoded, tmp_path):
    first = pixels(cached.square("x, y/ä.jpg", 32))
    assert first == plainly(photo, 32)
    assert pixels(cached.square("x, y/ä.jpg", 32)) == first and decoded == ["ä.jpg"]
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    another = ImageReader(tmp_path / "link", cache=ImageCache(tmp_path / "cache"))
    assert pixels(another.square("x, y/ä.jpg", 32)) == first and decoded == ["ä.jpg"]
    assert pixels(another.square("x, y/ä.jpg", 24)) == plainly(photo, 24) and len(decoded) == 2
    assert len(files_of(tmp_path / "cache")) == 2


def test_an_entry_says_what_it_was_made_from_and_holds_raw_pixels(cached, photo, tmp_path):
    square = cached.square("x, y/ä.jpg", 32)
    (entry,) = files_of(tmp_path / "cache")
    heading, _, rest = entry.read_bytes().partition(b"\n")
    for known in (
        '"format": 1',
        "Pillow",
        "libjpeg-turbo",
        str(photo.stat().st_mtime_ns),
        str(photo.stat().st_size),
        '"full"',
    ):
        assert known in heading.decode()
    assert rest[8:-4] == square.image.tobytes()


@pytest.mark.parametrize("same", ["size", "time"])
def test_a_source_that_has_changed_is_read_again_and_its_entry_replaced(cached, photo, decoded, tmp_path, same):
    cached.square("x, y/ä.jpg", 32)
    before = photo.stat()
    if same == "size":
        data = bytearray(photo.read_bytes())
        data[-40] ^= 255  # within the compressed pixels
        photo.write_bytes(data)
        assert photo.stat().st_size == before.st_size
        os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    else:
        noise(50, 80, seed=1).save(photo)
        os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    for _ in range(2):
        assert pixels(cached.square("x, y/ä.jpg", 32)) == plainly(photo, 32)
    assert len(decoded) == 2 and len(files_of(tmp_path / "cache")) == 1


def test_a_source_that_changes_while_it_is_read_is_read_again(cached, photo, monkeypatch):
    own = reading.read_image

    def replaced_before(path, *options):
        noise(50, 80, seed=1).save(path)
        return own(path, *options)

    monkeypatch.setattr(reading, "read_image", replaced_before)
    cached.square("x, y/ä.jpg", 32)
    monkeypatch.setattr(reading, "read_image", own)
    noise(60, 45, seed=2).save(photo)
    assert pixels(cached.square("x, y/ä.jpg", 32)) == plainly(photo, 32)


@pytest.mark.parametrize("damage", ["cut", "longer", "empty", "folder", "fifo", "other"])
def test_a_damaged_entry_is_made_again(cached, photo, tmp_path, damage):
    expected = pixels(cached.square("x, y/ä.jpg", 32))
    (entry,) = files_of(tmp_path / "cache")
    whole = entry.read_bytes()
    if damage in ("folder", "fifo"):
        entry.unlink()
        (os.mkfifo if damage == "fifo" else os.mkdir)(entry)
    else:
        entry.write_bytes({"cut": whole[:-1], "longer": whole + b"\0", "empty": b"", "other": b"x" * len(whole)}[damage])
    assert pixels(cached.square("x, y/ä.jpg", 32)) == expected
    if damage not in ("folder", "fifo"):  # a file is not put in their place
        assert entry.read_bytes() == whole


def test_no_flipped_bit_of_an_entry_goes_unnoticed(cached, photo, decoded, tmp_path):
    expected = pixels(cached.square("x, y/ä.jpg", 3))
    (entry,) = files_of(tmp_path / "cache")
    whole = entry.read_bytes()
    for place in range(len(whole)):
        entry.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        assert pixels(cached.square("x, y/ä.jpg", 3)) == expected
        assert len(decoded) == place + 2, f"byte {place}"


@pytest.mark.parametrize(("name", "value"), [("FORMAT", 2), ("DECODER", "Pillow 1")])
def test_another_format_or_decoder_does_not_take_the_entry(cached, photo, decoded, monkeypatch, name, value):
    cached.square("x, y/ä.jpg", 32)
    monkeypatch.setattr(image_cache, name, value)
    cached.square("x, y/ä.jpg", 32)
    assert len(decoded) == 2


def test_the_limit_on_megapixels_holds_for_what_is_kept(cached, photo, tmp_path):
    cached.square("x, y/ä.jpg", 32)
    strict = ImageReader(tmp_path / "photos", 0.001, cache=ImageCache(tmp_path / "cache"))
    with pytest.raises(InputError, match=r"ä\.jpg: declares 60 x 45 pixels"):
        strict.square("x, y/ä.jpg", 32)


def test_unreadable_images_are_the_same_errors_and_leave_nothing(tmp_path):
    split = bad_split(tmp_path)
    plain, kept = (LabeledImages(tmp_path, split, 8, cache_images=folder) for folder in (None, tmp_path / "cache"))
    for _ in range(2):
        assert [kept[i] for i in (1, 2, 3)] == [plain[i] for i in (1, 2, 3)]
    assert not (tmp_path / "cache").exists()
    assert torch.equal(kept[0][0], plain[0][0]) and len(files_of(tmp_path / "cache")) == 1
    (tmp_path / "good.png").unlink()
    assert kept[0] == f"{tmp_path}/good.png: no such file"


def entry_of(cached, path):
    return cached.cache.path(image_cache.name_of(Source(str(path), 0, 0, 32, FULL)))


@pytest.mark.parametrize("lack", ["room", "folder"])
def test_a_cache_that_cannot_be_written_is_read_and_warned_about_once(cached, photo, tmp_path, decoded, caplog, lack):
    kept = pixels(cached.square("x, y/ä.jpg", 32))
    taken = entry_of(cached, photo).parent  # where one entry of 256 could still be written
    names = (f"{number}.png" for number in range(100))
    one, other = [name for name in names if entry_of(cached, photo.parent / name).parent != taken][:2]
    noise(30, 30, seed=5).save(photo.parent / one)
    noise(30, 30, seed=6).save(photo.parent / other)
    if lack == "folder":  # a file where each entry's folder would be
        assert taken.is_dir()
        for digits in range(256):
            if not (folder := tmp_path / "cache" / f"{digits:02x}").exists():
                folder.touch()
    with caplog.at_level(logging.WARNING, "wsol"), full_disk(1000 if lack == "room" else 10**6):
        for name in (one, other, one):
            expected = plainly(photo.parent / name, 32)
            assert pixels(cached.square(f"x, y/{name}", 32)) == expected
        assert pixels(cached.square("x, y/ä.jpg", 32)) == kept
    assert decoded == ["ä.jpg", one, other, one]
    (record,) = caplog.records
    assert "going on without keeping more resized images" in record.message and str(tmp_path / "cache") in record.message
    assert [path for path in files_of(tmp_path / "cache") if path.stat().st_size and path.stat().st_size < 3 * 32 * 32] == []


def test_what_a_killed_process_left_is_removed(cached, photo, tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    source = Source(str(photo), photo.stat().st_size, photo.stat().st_mtime_ns, 32, FULL)
    entry = cached.cache.path(image_cache.name_of(source))
    entry.parent.mkdir(parents=True)
    temporary_sibling(entry, dead.pid).write_bytes(b"half")
    cached.square("x, y/ä.jpg", 32)
    assert files_of(tmp_path / "cache") == [entry]


def _read_all(folder: Path, cache: Path, names: list[str], start, results) -> None:
    reader = ImageReader(folder, cache=ImageCache(cache))
    start.wait()
    results.put([reader.square(name, 40).image.tobytes() for name in names])


def test_several_processes_fill_a_folder_at_once(tmp_path):
    names = [f"{i}.jpg" for i in range(40)]
    for number, name in enumerate(names):
        noise(50, 40, number).save(tmp_path / name)
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(4), context.Queue()
    workers = [
        context.Process(target=_read_all, args=(tmp_path, tmp_path / "cache", names, start, results)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    read = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    expected = [ImageReader(tmp_path).square(name, 40).image.tobytes() for name in names]
    assert read == [expected] * 4
    entries = files_of(tmp_path / "cache")
    assert len(entries) == len(names) and not [path for path in entries if path.name.startswith(".")]
    assert all(stat.S_ISREG(path.stat().st_mode) for path in entries)
    cache = ImageCache(tmp_path / "cache")
    for name, kept in zip(names, expected, strict=True):
        status = (tmp_path / name).stat()
        source = Source(str(tmp_path / name), status.st_size, status.st_mtime_ns, 40, FULL)
        assert cache.get(source).image.tobytes() == kept


@pytest.mark.parametrize("decode_scale", [FULL, REDUCED])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("resize_size", [None, 48])
def test_batches_are_the_same_with_and_without_the_cache(tmp_path, workers, resize_size, decode_scale):
    names = [f"{i}.jpg" for i in range(7)]
    for number, name in enumerate(names):
        noise(130, 100 + number, number).save(tmp_path / name)
    split = LevelSplit(names, np.arange(7))

    def batches(cache):
        images = LabeledImages(tmp_path, split, 40, resize_size, decode_scale=decode_scale, cache_images=cache)
        shuffle = EpochShuffle(len(names), 0) if resize_size else None
        return torch.cat([batch.images for batch in make_loader(images, 3, workers, torch.device("cpu"), shuffle)])

    plain, cold, warm = batches(None), batches(tmp_path / "cache"), batches(tmp_path / "cache")
    assert torch.equal(plain, cold) and torch.equal(plain, warm)
    assert len(files_of(tmp_path / "cache")) == len(names)


@pytest.mark.parametrize(("side", "scale"), [(75, 4), (76, 2), (150, 2), (151, 1), (300, 1), (400, 1), (37, 8), (1, 8)])
def test_the_least_scale_that_leaves_both_sides_long_enough_is_decoded(tmp_path, side, scale):
    smooth(403, 300).save(tmp_path / "a.jpg")
    smooth(403, 300).save(tmp_path / "a.png")
    image, size, box = read_image(tmp_path / "a.jpg", least_side=side)
    assert (image.size, size) == ((-(-403 // scale), -(-300 // scale)), (403, 300))
    assert box == (0, 0, 403 / scale, 300 / scale)
    image, size, box = read_image(tmp_path / "a.png", least_side=side)
    assert image.size == size == (403, 300) and box == (0, 0, 403, 300)


@pytest.mark.parametrize("size", [(403, 300), (300, 403), (161, 161), (256, 999), (90, 300)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_reduced_image_is_nearly_the_whole_one_and_in_its_place(tmp_path, size, mode):
    smooth(*size).convert(mode).save(tmp_path / "a.jpg", quality=95, subsampling=0)
    whole, reduced = (ImageReader(tmp_path, decode_scale=scale).square("a.jpg", 32) for scale in (FULL, REDUCED))
    difference = np.abs(np.asarray(whole.image, dtype=int) - np.asarray(reduced.image, dtype=int))
    assert whole.size == reduced.size == size
    assert difference.max() <= 4  # 5 to 11 if the decoded pixels were resized without their box
    assert (difference.max() > 0) or size == (90, 300)


def test_scales_have_entries_of_their_own(tmp_path):
    noise(200, 200).save(tmp_path / "a.jpg")
    readers = [ImageReader(tmp_path, decode_scale=scale, cache=ImageCache(tmp_path / "cache")) for scale in (FULL, REDUCED)]
    plain = [ImageReader(tmp_path, decode_scale=scale).square("a.jpg", 32) for scale in (FULL, REDUCED)]
    for _ in range(2):
        assert [pixels(reader.square("a.jpg", 32)) for reader in readers] == list(map(pixels, plain))
    assert pixels(plain[0]) != pixels(plain[1])


def test_a_square_of_an_entry_can_be_changed_without_changing_the_entry(cached, photo):
    first = cached.square("x, y/ä.jpg", 32)
    kept = pixels(first)
    cached.square("x, y/ä.jpg", 32).image.paste((1, 2, 3), (0, 0, 32, 32))
    assert pixels(cached.square("x, y/ä.jpg", 32)) == kept and isinstance(first, Square)
