"""Text files of a million lines as columns, read and written some thousand lines at a time, without an object per line.

In: UTF-8 text files. Out: pyarrow arrays of their lines. `read_lines` and `write_text` of wsol.core.files are for others.
"""

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NoReturn

import numpy as np
import pyarrow
import pyarrow.compute

from wsol.core.errors import MetadataError
from wsol.core.files import check_input, read_lines, whole_file

BLOCK = 1 << 20  # bytes read at a time: they, and what is made of them, stay in a processor's cache
BOM = b"\xef\xbb\xbf"


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    r"""Yield a file's bytes in blocks of whole lines that end in \n, without the byte order mark; the last line may lack it.

    \r\n and \r become \n, as where Python reads text.
    """
    start = BOM
    while block := file.read(BLOCK) + file.readline():
        block, start = block.removeprefix(start), b""
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if block:
            yield block


def line_blocks(path: str | os.PathLike) -> Iterator[pyarrow.StringArray]:
    """Yield the lines of a UTF-8 text file, the same as `read_lines` returns, many in an array.

    Raises:
        MetadataError: it cannot be read, is not UTF-8, or has a NUL.
    """
    try:
        with check_input(path).open("rb") as file:
            for block in _blocks(file):
                if not block.isascii():
                    block.decode()
                if b"\0" in block:
                    raise ValueError("a NUL")
                ends = pyarrow.py_buffer(np.array([0, len(block) - block.endswith(b"\n")], dtype=np.int32))
                text = pyarrow.StringArray.from_buffers(1, ends, pyarrow.py_buffer(block))
                yield pyarrow.compute.split_pattern(text, "\n").values
    except (OSError, ValueError):
        refuse(path)


def refuse(path: str | os.PathLike) -> NoReturn:
    """Raise the MetadataError of `read_lines`, which names the first NUL and where the file is not UTF-8."""
    read_lines(path)
    raise MetadataError(f"{path}: changed while it was read; try again")


def text_column(texts: Iterable[str]) -> pyarrow.StringArray:
    """Return texts as an array."""
    return pyarrow.array(texts, pyarrow.string())


def write_columns(path: str | os.PathLike, blocks: Iterable[pyarrow.StringArray]) -> None:
    """Write the texts of arrays one after the other; each must bring its own line end.

    Raises:
        InputError: it cannot be written.
    """
    with whole_file(path) as temporary, temporary.open("wb") as file:
        for block in blocks:
            if len(block):
                _, ends, data = block.buffers()
                ends = np.frombuffer(ends, dtype=np.int32)
                file.write(memoryview(data or b"")[ends[block.offset] : ends[block.offset + len(block)]])
