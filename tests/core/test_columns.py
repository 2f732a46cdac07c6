import os
from itertools import chain

import pyarrow
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsol.core import columns
from wsol.core.errors import InputError, MetadataError
from wsol.core.files import read_lines

PIECES = [
    b"\n",
    b"\r\n",
    b"\r",
    b"\xef\xbb\xbf",
    b"a",
    b"b c,1",
    "ü".encode(),
    "\u2028\x85".encode(),
    b"\x0c",
    b"\xff",
    b"\0",
]


def outcome(function, *arguments):
    """What a function returns, or the message that it refuses with."""
    try:
        return function(*arguments)
    except InputError as error:
        return type(error).__name__, str(error)


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), st.integers(1, 12))
@example(b"", 1)
@example(b"\xef\xbb\xbf", 2)
@example(b"\xef\xbb\xbf\n\xef\xbb\xbfa", 1)
@example(b"a\n\n", 1)
@example(b"a\r\nb\r", 2)
def test_blocks_have_the_lines_that_python_reads(tmp_path_factory, content, size):
    path = tmp_path_factory.mktemp("lines") / "x.txt"
    path.write_bytes(content)

    def in_blocks(path):
        return list(chain.from_iterable(block.to_pylist() for block in columns.line_blocks(path)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "BLOCK", size)
        assert outcome(in_blocks, path) == outcome(read_lines, path)


def test_what_cannot_be_read_is_refused_as_read_lines_does(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "none", tmp_path / "fifo", "a\0b"):
        with pytest.raises(MetadataError) as plain:
            read_lines(path)
        with pytest.raises(MetadataError) as caught:
            list(columns.line_blocks(path))
        assert str(caught.value) == str(plain.value)


@given(st.lists(st.lists(st.text(max_size=3), max_size=5), max_size=4), st.integers(0, 2))
def test_columns_are_written_one_after_the_other(tmp_path_factory, texts, start):
    path = tmp_path_factory.mktemp("columns") / "x.txt"
    columns.write_columns(path, (pyarrow.array(each, pyarrow.string()).slice(start) for each in texts))
    assert path.read_bytes().decode() == "".join(chain.from_iterable(each[start:] for each in texts))
