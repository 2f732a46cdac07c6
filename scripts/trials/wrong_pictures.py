"""Wrong score maps, masks, images and archives, for wrong_files.py.

Each table maps the name of a fault to a file's bytes, or to a function that makes them (bombs are made only when tried). A
trailing REFUSED, ACCEPTED or EITHER says how the command should end (default: refused).
"""

import io
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.trials.common import ACCEPTED, EITHER, REFUSED, Case
from scripts.trials.workspace import BASE, SIZE, picture, tar
from scripts.trials.wrong_common import DIGITS, SPECIAL, RunsCode, put, special, zip_bytes

PETS = "dataset"  # a preparation that fails keeps the images it has already placed


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)  # one of the arrays holds objects
    return buffer.getvalue()


def _npy_header(text: str, version: bytes = b"\x01\x00", body: bytes = b"") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + body


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


def npz_bomb(side: int = 20000) -> bytes:
    """Return a small .npz that decompresses to side x side zeros: one compressed block, repeated."""
    header = _npy_header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({side}, {side}), }}")
    zeros, count = bytes(8 * side * 100), side // 100
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start, block = (packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH) for part in (header, zeros))
    data, crc = start + block * count + packer.flush(), zlib.crc32(header)
    for _ in range(count):
        crc = zlib.crc32(zeros, crc)
    name, sizes = b"a.npy", (crc, len(data), len(header) + len(zeros) * count)
    entry = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 8, 0, 33, *sizes, len(name), 0) + name + data
    listed = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 8, 0, 33, *sizes, len(name), *[0] * 6) + name
    return entry + listed + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(listed), len(entry), 0)


def png(width: int, height: int, bits: int = 8, colour: int = 0, rows: int | None = None, extra: bytes = b"") -> bytes:
    """Return a PNG of zeros whose header declares a size; `rows`: how many rows it really has (default: all)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    channels = {0: 1, 2: 3, 3: 1, 6: 4}[colour]
    row = bytes(1 + (width * bits * channels + 7) // 8)
    packer, parts = zlib.compressobj(9), []
    for _ in range(height if rows is None else rows):
        parts.append(packer.compress(row))
    data = b"".join(parts) + packer.flush()
    palette = chunk(b"PLTE", bytes(6)) if colour == 3 else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + palette + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


RANDOM = np.random.default_rng(0).random((20, 24))
MAPS: dict[str, tuple] = {
    "npy: as it should be": (_npy(RANDOM), ACCEPTED),
    "npy: half precision": (_npy(RANDOM.astype(np.float16)), ACCEPTED),
    "npy: big-endian": (_npy(RANDOM.astype(">f4")), ACCEPTED),
    "npy: columns first": (_npy(np.asfortranarray(RANDOM)), ACCEPTED),
    "npy: constant": (_npy(np.zeros((20, 24))), ACCEPTED),
    "npy: four pixels": (_npy(np.ones((2, 2))), EITHER),
    "npy: NaN": (_npy(RANDOM * np.nan),),
    "npy: infinite": (_npy(np.full((20, 24), np.inf)),),
    "npy: negative": (_npy(RANDOM - 1),),
    "npy: above 1": (_npy(RANDOM * 255),),
    "npy: whole numbers": (_npy((RANDOM > 0.5).astype(int)),),
    "npy: bool": (_npy(RANDOM > 0.5),),
    "npy: complex": (_npy(RANDOM + 0j),),
    "npy: text": (_npy(np.array([["a"]])),),
    "npy: dates": (_npy(np.array([["2001-01-01"]], dtype="datetime64[D]")),),
    "npy: records": (_npy(np.zeros((2, 2), dtype=[("a", "f4")])),),
    "npy: three axes": (_npy(RANDOM[None]),),
    "npy: one axis": (_npy(RANDOM[0]),),
    "npy: no axis": (_npy(np.array(0.5)),),
    "npy: nothing in it": (_npy(np.zeros((0, 5))),),
    "npy: objects": (_npy(np.array([[RunsCode()]], dtype=object)),),
    "npy: a pickle": (b"cos\nsystem\n(S'touch executed'\ntR.",),
    "npy: truncated": (_npy(RANDOM)[:500],),
    "npy: header alone": (_npy(RANDOM)[:60],),
    "npy: empty file": (b"",),
    "npy: text file": (b"0.5 0.5\n",),
    "npy: header of code": (_npy_header("__import__('os').system('touch executed')"),),
    "npy: declares 8 TB": (_npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"),),
    "npy: declares 10**30": (_npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (10**30, 1), }"),),
    "npy: negative shape": (_npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4), }", body=bytes(64)),),
    "npy: 5,000 digits": (_npy_header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({DIGITS}, 1), }}"),),
    "npy: version 9": (_npy_header("{}", b"\x09\x00"),),
    "npz: as it should be": (_npz(a=RANDOM), ACCEPTED),
    "npz: two arrays": (_npz(a=RANDOM, b=RANDOM),),
    "npz: nothing in it": (zip_bytes({}),),
    "npz: another file in it": (zip_bytes({"a.txt": b"x"}),),
    "npz: truncated": (_npz(a=RANDOM)[:300],),
    "npz: no zip": (b"nonsense",),
    "npz: a bomb of 3.2 GB": (npz_bomb,),
    "png: as it should be": (encoded(Image.fromarray((RANDOM * 255).astype(np.uint8)), "PNG"), ACCEPTED),
    "png: 16 bits": (encoded(Image.fromarray((RANDOM * 65535).astype(np.uint16)), "PNG"), ACCEPTED),
    "png: RGB": (encoded(picture(1)[0], "PNG"),),
    "png: palette": (png(24, 20, 8, 3),),
    "png: one bit": (encoded(Image.new("1", (24, 20)), "PNG"),),
    "png: a JPEG": (encoded(Image.new("L", (24, 20)), "JPEG"),),
    "png: truncated": (png(240, 200)[:60],),
    "png: rows missing": (png(24, 20, rows=3), EITHER),  # Pillow fills in the missing rows
    "png: no row": (png(24, 20, rows=0),),
    "png: a bomb of 900 megapixels": (lambda: png(30000, 30000, 8),),
    "png: a bomb of 165 megapixels": (lambda: png(15000, 11000, 16),),
    "png: declares 2**31 columns": (png(2**31 - 1, 2, rows=0),),
}
MASKS: dict[str, tuple] = {
    "RGBA": (encoded(Image.new("RGBA", SIZE, (255, 0, 0, 255)), "PNG"), EITHER),
    "16 bits": (encoded(Image.fromarray(np.full(SIZE[::-1], 65535, np.uint16)), "PNG"), EITHER),
    "a GIF": (encoded(Image.new("L", SIZE, 255), "GIF"), EITHER),
    "a bitmap": (encoded(Image.new("L", SIZE, 255), "BMP"), EITHER),
    "black": (encoded(Image.new("L", SIZE, 0), "PNG"), EITHER),
    "twice the size": (encoded(Image.new("L", (96, 80), 255), "PNG"), ACCEPTED),
    "other proportions": (encoded(Image.new("L", SIZE[::-1], 255), "PNG"),),
    "one pixel": (encoded(Image.new("L", (1, 1), 255), "PNG"), EITHER),
    "empty file": (b"",),
    "text": (b"nonsense",),
    "truncated": (png(*SIZE)[:60],),
    "rows missing": (png(*SIZE, rows=3), EITHER),
    "a bomb of 900 megapixels": (lambda: png(36000, 30000, 1),),
    "a bomb of 1.2 gigapixels": (lambda: png(37950, 31625, 1),),
    "declares 2**31 columns": (png(2**31 - 1, 2, rows=0),),
}
IMAGES: dict[str, tuple] = {
    "16 bits": (encoded(Image.fromarray(np.full(SIZE[::-1], 40000, np.uint16)), "PNG"), ACCEPTED),
    "CMYK": (encoded(picture(1)[0].convert("CMYK"), "JPEG"), ACCEPTED),
    "grey with alpha": (encoded(Image.new("LA", SIZE, (9, 9)), "PNG"), ACCEPTED),
    "one bit": (encoded(Image.new("1", SIZE), "PNG"), ACCEPTED),
    "palette with transparency": (encoded(picture(1)[0].convert("P"), "PNG", transparency=bytes(range(256))), ACCEPTED),
    "turned by EXIF": (
        encoded(
            picture(1)[0], "JPEG", exif=bytes.fromhex("45786966000049492a00080000000100120103000100000006000000") + bytes(4)
        ),
        ACCEPTED,
    ),
    "broken EXIF": (encoded(picture(1)[0], "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(30)), ACCEPTED),
    "animated": (encoded(picture(1)[0], "GIF", save_all=True, append_images=[picture(2)[0]]), ACCEPTED),
    "mode I": (encoded(Image.fromarray(np.full(SIZE[::-1], 70000, np.int32)), "TIFF"),),
    "mode F": (encoded(Image.fromarray(np.full(SIZE[::-1], 0.5, np.float32)), "TIFF"),),
    "truncated": (encoded(picture(1)[0], "PNG")[:900],),
    "empty file": (b"",),
    "text": (b"nonsense",),
    "a web page": (b"<!DOCTYPE html><html></html>",),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),),
    "a bomb of 900 megapixels": (lambda: png(30000, 30000, 8),),
    "130 megapixels": (lambda: png(13000, 10000, 1), EITHER),
    "a text chunk of 100 MB": (lambda: png(*SIZE, extra=_text_bomb()), EITHER),
    "declares 2**31 columns": (png(2**31 - 1, 2, rows=0),),
}


def _text_bomb() -> bytes:
    body = b"Comment\0\0" + zlib.compress(bytes(100 << 20))
    return struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))


def picture_cases() -> Iterator[Case]:
    """Yield wrong maps and masks for evaluation.py, and wrong images for main.py and the import."""
    image = "val/ant/0.png"
    evaluation = (*BASE["evaluation.py"], "--image_list", "one.txt")

    def alone(make: Callable[[Path], None], folder: Path) -> None:
        (folder / "one.txt").write_text(f"{image}\n")
        (folder / f"maps/{image}.npy").unlink()
        make(folder)

    for name, (content, *expected) in MAPS.items():
        file = f"maps/{image}.{name.split(':')[0]}"
        setup = partial(alone, partial(put, file, content))
        how = (expected or [REFUSED])[0]
        yield Case(f"map: {name}", "evaluation.py", evaluation, how, [Path(file).name], setup)
    for kind in SPECIAL:
        setup = partial(alone, partial(special, f"maps/{image}.npy", kind))
        yield Case(f"map: {kind}", "evaluation.py", evaluation, REFUSED, ["0.png"], setup)
    mask = "dataset/Mini/val/ant/0_mask.png"
    for name, (content, *expected) in MASKS.items():
        setup = partial(put, mask, content)
        how = (expected or [REFUSED])[0]
        prints = name == "rows missing"  # OpenCV reads masks with libpng, which warns
        yield Case(f"mask: {name}", "evaluation.py", BASE["evaluation.py"], how, ["0_mask.png"], setup, prints=prints)
    for kind in SPECIAL:
        setup = partial(special, mask, kind)
        yield Case(f"mask: {kind}", "evaluation.py", BASE["evaluation.py"], REFUSED, ["0_mask.png"], setup)
    trained, photo = "dataset/Mini/train/ant/0.png", "photos/ant/0.jpg"
    main = (*BASE["main.py"], "--epochs", "1", "--bootstrap", "0", "--save_scoremaps", "none")
    for name, (content, *expected) in IMAGES.items():
        setup = partial(put, trained, content)
        how = (expected or [REFUSED])[0]  # images are read during training, so the run has begun
        yield Case(f"image: {name}", "main.py", main, how, ["0.png"], setup, leaves="train_log")
        setup = partial(put, photo, content)
        yield Case(
            f"photo: {name}", "dataset/import_dataset.py", BASE["dataset/import_dataset.py"], EITHER, ["0.jpg"], setup
        )
    for kind in SPECIAL:
        setup = partial(special, trained, kind)
        yield Case(f"image: {kind}", "main.py", main, REFUSED, ["0.png"], setup, leaves="train_log")
        setup = partial(special, photo, kind)
        yield Case(f"photo: {kind}", "dataset/import_dataset.py", BASE["dataset/import_dataset.py"], EITHER, (), setup)


def _tar_in(name: str, members: dict[str, bytes], folder: Path) -> None:
    tar(folder / name, members)


def archive_cases() -> Iterator[Case]:
    """Yield wrong archives for prepare.py."""
    good = {f"images/Abyssinian_{i}.jpg": encoded(picture(i)[0], "JPEG") for i in range(1, 7)}
    wrong = "archives/images.tar.gz"

    def links(kind: bytes, target: str) -> Callable[[Path], None]:
        def setup(folder: Path) -> None:
            with tarfile.open(folder / wrong, "w:gz") as archive:
                info = tarfile.TarInfo("images/Abyssinian_1.jpg")
                info.type, info.linkname = kind, target
                archive.addfile(info)

        return setup

    def cut(folder: Path) -> None:
        (folder / wrong).write_bytes((folder / wrong).read_bytes()[:5000])

    def bomb(folder: Path) -> None:
        with tarfile.open(folder / wrong, "w:gz") as archive:
            info = tarfile.TarInfo("images/Abyssinian_1.jpg")
            info.size = 1 << 20
            archive.addfile(info, io.BytesIO(bytes(1 << 20)))

    setups: dict[str, Callable[[Path], object]] = {
        "a member that points outside the folder": lambda f: tar(f / wrong, {**good, "images/../../../evil.jpg": b"x"}),
        "an absolute member": lambda f: tar(f / wrong, {**good, "/tmp/evil/images/a_1.jpg": b"x"}),
        "a member with NUL in its name": lambda f: tar(f / wrong, {**good, "images/a\0b.jpg": b"x"}),
        "a link out": links(tarfile.SYMTYPE, "/etc/passwd"),
        "a hard link": links(tarfile.LNKTYPE, "/etc/passwd"),
        "a device": links(tarfile.CHRTYPE, ""),
        "a FIFO": links(tarfile.FIFOTYPE, ""),
        "truncated": cut,
        "a megabyte of zeros as an image": bomb,
        "empty": lambda f: (f / wrong).write_bytes(b""),
        "text": lambda f: (f / wrong).write_bytes(b"nonsense"),
        "no image": lambda f: tar(f / wrong, {"a.txt": b"x"}),
        "a zip": lambda f: (f / wrong).write_bytes(zip_bytes(good)),
        "an image missing": lambda f: tar(f / wrong, dict(list(good.items())[1:])),
        "FIFO": lambda f: special(wrong, "FIFO", f),
        "/dev/zero": lambda f: special(wrong, "a link to /dev/zero", f),
    }
    words = BASE["dataset/prepare.py"]
    for name, setup in setups.items():
        yield Case(f"archive: {name}", "dataset/prepare.py", words, REFUSED, ["images.tar.gz", "Abyssinian"], setup, PETS)
    notes = "archives/annotations.tar.gz"
    for name, text in {
        "a malformed list": "a b\n",
        "no list": None,
        "an empty list": "",
        "Latin-1": "\xe4_1 1 1 1\n",
    }.items():
        members = {} if text is None else {"annotations/list.txt": text.encode("latin-1")}
        setup = partial(_tar_in, notes, members)
        at_fault = ["list.txt", "annotations.tar.gz", "no images are left"]
        yield Case(f"archive: {name}", "dataset/prepare.py", words, REFUSED, at_fault, setup, PETS)
