"""Mutations of valid files, for fuzz.py, that know what is inside: chunks of PNG, headers of .npy, members of archives.

In: a seed file's bytes and a generator. Out: bytes in which checksums are right again, and members are packed again, so that
what is wrong lies deep inside.
"""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from contextlib import suppress
from random import Random

from scripts.trials.fuzz_mutations import BYTES, MOST_BYTES, Mutation, flip, number, overwrite, repeat, set_integer, truncate


def png_chunks(data: bytes, rng: Random) -> bytes:
    """Change the chunks of a PNG: header fields, content, order; checksums stay right."""
    chunks, place = [], 8
    while place + 8 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    if not chunks:
        return flip(data, rng)
    which = 0 if rng.random() < 0.4 else rng.randrange(len(chunks))
    kind, body = chunks[which]
    choice = rng.randrange(6)
    if choice == 0:
        body = zlib.compress(rng.choice((b"", bytes(1 << 20), rng.randbytes(50))))
    elif choice == 1:
        more = rng.choice(
            (b"tEXt", b"zTXt", b"iCCP", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"eXIf", b"gAMA", b"iTXt", b"abcd")
        )
        name = b"a\0\0" if more in (b"zTXt", b"iCCP") else b"a\0"
        chunks.insert(which, (more, name + rng.choice((b"", zlib.compress(bytes(1 << 20)), rng.randbytes(40)))))
    elif choice == 2:
        chunks.insert(rng.randrange(len(chunks)), chunks[which])
    else:
        body = rng.choice((set_integer, flip, truncate, overwrite, repeat))(body, rng)
    if choice not in (1, 2):
        chunks[which] = kind, body
    return data[:8] + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part)) for name, part in chunks
    )


NPY_HEADERS = (
    *(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (9999, 9999), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }",
    ),
    *(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4), }",
        "{'descr': '<f8', 'fortran_order': True, 'shape': (True, 9), }",
    ),
    *(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (10**30, 1), }",
        "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,), }",
    ),
    *(
        "{'descr': '<f16', 'fortran_order': False, 'shape': (900, 900), }",
        "{'descr': 'f8', 'fortran_order': 1, 'shape': (4, 4)}",
    ),
    *(
        "{'descr': '<U0', 'fortran_order': False, 'shape': (2147483648,), }",
        "{'descr': '<U99999999', 'fortran_order': False, 'shape': (), }",
    ),
    *(
        "{'descr': '<m8[s]', 'fortran_order': False, 'shape': (4, 4), }",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (4, 4), }",
    ),
    *(
        "__import__('os').system('touch executed')",
        "(" * 3000,
        "{'descr': '<f8', 'shape': (" + "1," * 70 + "), 'fortran_order': False}",
    ),
    *("{'descr': ('<f8', (9999999,)), 'fortran_order': False, 'shape': (1, 1)}", "'" * 9000, "{1: 2, [3]: 4}"),
)


def npy_header(data: bytes, rng: Random) -> bytes:
    """Replace the header of a .npy file, or a number in it."""
    (length,) = struct.unpack("<H", data[8:10].ljust(2, b"\0"))
    header = data[10 : 10 + length]
    header = number(header, rng) if rng.random() < 0.6 else rng.choice(NPY_HEADERS).encode() + b"\n"
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"))
    size = struct.pack("<H", len(header) % 65536) if version == b"\x01\x00" else struct.pack("<I", len(header))
    return b"\x93NUMPY" + version + size + header + data[10 + length :]


def packed(members: list[tuple[str, bytes]], how: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip archive of (name, content)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name or "x", (1980, 1, 1, 0, 0, 0)), content, how)
    return buffer.getvalue()


NAMES = (
    "../x",
    "/etc/x",
    "a\\b",
    "a//b",
    "x/",
    ".",
    "",
    "a" * 300,
    "a\x1b[2Jb",
    "äé",
    "header.npy",
    "images/../../x.jpg",
)


def zip_members(inner: tuple[Mutation, ...]) -> Mutation:
    """Return a mutation that changes a member of a zip archive by one of `inner`, its name, or the list of members."""

    def change(data: bytes, rng: Random) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = [(info.filename, archive.read(info)) for info in archive.infolist()]
        except Exception:  # noqa: BLE001 (whatever it is: an earlier mutation has broken the archive)
            return rng.choice(BYTES)(data, rng)
        if not members:
            return flip(data, rng)
        which = min(rng.randrange(len(members)), rng.randrange(len(members)))
        name, content = members[which]
        choice = rng.randrange(10)
        if choice == 0:
            del members[which]
        elif choice == 1:
            members.append((name if rng.random() < 0.5 else rng.choice(NAMES[:8]), content))
        elif choice == 2:
            members[which] = rng.choice(NAMES).encode("utf-8", "replace").decode(), content
        else:
            members[which] = name, rng.choice(inner)(content, rng)[:MOST_BYTES]
        how = rng.choice(
            (zipfile.ZIP_STORED,) * 4 + (zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        )
        with suppress(UserWarning, ValueError):
            return packed(members, how)
        return data

    return change


def tar_member(data: bytes, rng: Random) -> bytes:
    """Add a member of an odd name, kind or size to a tar archive, or change a header; its checksum stays right."""
    if rng.random() < 0.4:
        info = tarfile.TarInfo(rng.choice((*NAMES, "images/a_1.jpg")))
        info.type = rng.choice((b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"L", b"K", b"x", b"g", b"D", b"\0"))
        info.linkname = rng.choice(("", "/etc/passwd", "../x"))
        info.size = rng.choice((0, 10, 512, 100_000))
        info.pax_headers = rng.choice(
            ({}, {"GNU.sparse.size": "9" * 15, "GNU.sparse.map": "0,1"}, {"size": "x"}, {"path": "a\0b"})
        )
        buffer = info.tobuf(rng.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)), errors="replace")
        return buffer + rng.randbytes(info.size).ljust(-(-info.size // 512) * 512, b"\0") + data
    blocks = max(1, len(data) // 512)
    start = 512 * min(rng.randrange(blocks), rng.randrange(blocks))
    header = bytearray(data[start : start + 512].ljust(512, b"\0"))
    place = rng.choice((0, 100, 108, 116, 124, 124, 124, 136, 156, 156, 157, 257, 263, 345, 386, 483))
    new = rng.choice(
        (b"S", b"L", b"x", b"g", b"1", b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"-1\0", rng.randbytes(8))
    )
    header[place : place + len(new)] = new
    header = header[:512]
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:start] + bytes(header) + data[start + 512 :]


def recompressed(inner: tuple[Mutation, ...]) -> Mutation:
    """Return a mutation of a .gz file that changes what is inside, and compresses it again, in whatever way."""

    def change(data: bytes, rng: Random) -> bytes:
        try:
            content = gzip.decompress(data)
        except Exception:  # noqa: BLE001 (whatever it is: an earlier mutation has broken the file)
            return flip(data, rng)
        content = rng.choice(inner)(content, rng)[: 5 * MOST_BYTES]
        return rng.choice((gzip.compress, gzip.compress, gzip.compress, bz2.compress, lzma.compress, bytes))(content)

    return change


TAR: tuple[Mutation, ...] = (tar_member,) * 8 + BYTES
TAR_GZ: tuple[Mutation, ...] = (recompressed(TAR),) * 12 + BYTES
PNG: tuple[Mutation, ...] = (png_chunks,) * 12 + BYTES
NPY: tuple[Mutation, ...] = (npy_header,) * 8 + BYTES
NPZ: tuple[Mutation, ...] = (zip_members(NPY),) * 12 + BYTES
