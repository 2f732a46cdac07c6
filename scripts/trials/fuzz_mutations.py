"""Mutations of valid files, for fuzz.py: of bytes, text and JSON.

In: a seed file's bytes and a generator. Out: bytes that are wrong in a few places.
"""

import copy
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

Mutation = Callable[[bytes, Random], bytes]

MOST_BYTES = 200_000  # of a mutated file
DIGITS = "9" * 5000
NUMBERS = (
    *(
        "0",
        "-1",
        "1",
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "1e999",
        "1e308",
        "1e-999",
        "1e-12",
        "0.5",
        "-0",
        "01",
        "0x10",
        "1_0",
    ),
    *("9" * 9, "9" * 10, "4294967296", "2147483647", "-2147483649", "9223372036854775808", "1" + "0" * 30, "٣", DIGITS),
    *("1" + "0" * 308, "1" + "0" * 400, "9" * 4299),
)
INTEGERS = (0, 1, -1, 2, 127, 128, 255, 256, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1)
TOKENS = (
    *(
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\r\n",
        b"\r",
        b"\n",
        b"\xe2\x80\xa8",
        b"\x85",
        b"\x1b[2J",
        b"\x0c",
    ),
    *(
        b'"',
        b'""',
        b"'",
        b",",
        b";",
        b"\t",
        b"#",
        b"../",
        b"/etc/passwd",
        b"..",
        b".",
        b"\\",
        b'sep="\n',
        b"sep=,\n",
        b"%00",
    ),
    *(b"&a ", b"*a", b"!!python/object/apply:os.system [touch executed]", b"!t ", b"<<: ", b"=", b"? ", b"- ", b"---\n"),
    *(
        b"[",
        b"{",
        b"]",
        b"}",
        b": ",
        b"|\n",
        b">\n",
        b'"\\Uffffffff"',
        b'"\\ud800"',
        b"2001-99-99",
        b"1:30:00",
        b"%YAML 9.9\n",
    ),
    *(b"1:" * 200 + b"1.5", b"~", b"null", b"true", b"@", b"`", b"%", b"\\u0000", b"a" * 300, b"x" * 70000),
    *(
        b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
        b"&b;",
        b"<a>",
        b"</object>",
        b"<![CDATA[",
        b"<?xml version='1.0' encoding='utf-7'?>",
    ),
    *(b"cos\nsystem\n(S'touch executed'\ntR.", b"PK\x03\x04", b"\x93NUMPY", b"\x89PNG\r\n\x1a\n", b"P5\n9999 9999\n255\n"),
)
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, float("nan"), float("inf"), 10**30, 10**308, 10**400, -(10**400), 1e308, 2**31, 2**63),
    *("", "x", "0.5", "nan", ".", "..", "../x", "/etc/passwd", "a\0b", "a\ud800b", "\x1b[2J", "n" * 300, [], {}, [1], [[]]),
    *([float("nan")] * 4, [1e308] * 4, [1, 2, 3], {"a": 1}, {"50": 0.5}, {"": None}, [None], ["x"], [1, 2, -3, 4]),
)


def _place(data: bytes, rng: Random) -> int:
    return rng.randrange(len(data) + 1)


def flip(data: bytes, rng: Random) -> bytes:
    """Flip one bit."""
    if not data:
        return b"\0"
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def overwrite(data: bytes, rng: Random) -> bytes:
    """Overwrite some bytes by random ones."""
    place = _place(data, rng)
    return data[:place] + rng.randbytes(rng.choice((1, 1, 2, 4, 16))) + data[place + 4 :]


def truncate(data: bytes, rng: Random) -> bytes:
    """Cut the end off."""
    return data[: _place(data, rng)]


def cut(data: bytes, rng: Random) -> bytes:
    """Cut a piece out."""
    place = _place(data, rng)
    return data[:place] + data[place + rng.choice((1, 2, 7, 40, 400)) :]


def repeat(data: bytes, rng: Random) -> bytes:
    """Repeat a piece, once or many times."""
    start = _place(data, rng)
    piece = data[start : start + rng.choice((1, 3, 10, 60, 400))]
    times = rng.choice((1, 1, 2, 10, 1000, 20_000))
    return data[:start] + piece * min(times, MOST_BYTES // (len(piece) or 1)) + data[start:]


def splice(data: bytes, rng: Random) -> bytes:
    """Put a piece of the file elsewhere in it."""
    start, place = _place(data, rng), _place(data, rng)
    return data[:place] + data[start : start + rng.randrange(1, 200)] + data[place:]


def insert(data: bytes, rng: Random) -> bytes:
    """Insert a token that means something to some format."""
    place = _place(data, rng)
    return data[:place] + rng.choice(TOKENS) + data[place:]


def set_integer(data: bytes, rng: Random) -> bytes:
    """Overwrite 1, 2, 4 or 8 bytes, such as those of a length, by a whole number of either byte order."""
    size, order = rng.choice((1, 2, 2, 4, 4, 4, 8)), rng.choice(("little", "big"))
    place = rng.randrange(min(len(data), 400) + 1) if rng.random() < 0.7 else _place(data, rng)
    value = rng.choice(INTEGERS) % 256**size
    return data[:place] + value.to_bytes(size, order) + data[place + size :]


def random_bytes(data: bytes, rng: Random) -> bytes:
    """Return random bytes, perhaps after the start of the file, by which readers recognise it."""
    return data[: rng.choice((0, 0, 4, 8, 16, 64))] + rng.randbytes(rng.choice((0, 1, 10, 100, 3000)))


def zeros(data: bytes, rng: Random) -> bytes:
    """Overwrite a piece by zeros."""
    place, length = _place(data, rng), rng.choice((1, 8, 64, 1000))
    return data[:place] + bytes(length) + data[place + length :]


BYTES: tuple[Mutation, ...] = (
    *(flip, flip, overwrite, truncate, cut, repeat, splice, insert, insert, set_integer, set_integer, random_bytes, zeros),
)


def number(data: bytes, rng: Random) -> bytes:
    """Replace a number of a text by another one."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if not found:
        return insert(data, rng)
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(NUMBERS).encode() + data[one.end() :]


def word(data: bytes, rng: Random) -> bytes:
    """Replace a word of a text by another word of it, by nothing, or by a token."""
    found = list(re.finditer(rb"[\w./-]+", data))
    if not found:
        return insert(data, rng)
    one = rng.choice(found)
    new = rng.choice((rng.choice(found)[0], b"", rng.choice(TOKENS), one[0] * 2))
    return data[: one.start()] + new + data[one.end() :]


def lines(data: bytes, rng: Random) -> bytes:
    """Repeat, remove, shuffle or empty lines."""
    rows = data.split(b"\n")
    place = rng.randrange(len(rows))
    kind = rng.randrange(6)
    if kind == 0:
        rows.insert(rng.randrange(len(rows) + 1), rows[place])
    elif kind == 1:
        del rows[place]
    elif kind == 2:
        rng.shuffle(rows)
    elif kind == 3:
        rows[place] = b""
    elif kind == 4:
        rows = rows[:1] + rows[1:] * min(500, MOST_BYTES // (len(data) or 1))
    else:
        rows[place] = b",".join(reversed(rows[place].split(b",")))
    return b"\n".join(rows)


def encode(data: bytes, rng: Random) -> bytes:
    """Write a text in another encoding, or with other line ends."""
    text = data.decode("utf-8", "replace")
    if rng.random() < 0.3:
        return data.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\r", b"\n\n", b"\xe2\x80\xa8", b"\x0b")))
    return text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7", "cp037", "utf-8-sig")), "replace")


def nest(data: bytes, rng: Random) -> bytes:
    """Insert deep nesting: about as deep as Python recurses, or far deeper."""
    depth = rng.choice((20, 150, 300, *range(450, 1010, 20), 3000, 30_000))
    opening, closing = rng.choice(
        ((b"[", b"]"), (b'{"a":', b"}"), (b"{a: ", b"}"), (b"- ", b""), (b"<a>", b"</a>"), (b"(", b")"))
    )
    middle = opening * depth + rng.choice((b"1", b"")) + closing * rng.choice((depth, depth, 0))
    place = _place(data, rng)
    spot = re.compile(rb"(?<=[:=,\[] )?\b\d+\b").search(data, place)
    if spot and rng.random() < 0.7:
        return data[: spot.start()] + middle + data[spot.end() :]
    return rng.choice((middle, data[:place] + middle + data[place:]))


TEXT: tuple[Mutation, ...] = (number, number, word, word, lines, encode, nest, insert, insert, truncate, flip, repeat, cut)


def _nodes(tree: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401 (any JSON value)
    """Return every (container, key) of a tree."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        found += [(node, key) for key in keys]
        waiting += [node[key] for key in keys]
    return found


def change_tree(tree: Any, rng: Random, odd: tuple[Any, ...] = ODD) -> Any:  # noqa: ANN401 (any JSON value)
    """Return a tree of dicts and lists, changed in place: a value replaced, removed, repeated or put under another key."""
    nodes = _nodes(tree)
    new = rng.choice(odd)
    new = copy.deepcopy(new) if isinstance(new, list | dict) else new  # no tree holds another's part, or itself
    if not nodes or rng.random() < 0.03:
        return new
    node, key = rng.choice(nodes)
    kind = rng.randrange(8)
    if kind == 0:
        del node[key]
    elif kind == 1:
        other, name = rng.choice(nodes)
        node[key] = copy.deepcopy(other[name])
    elif kind == 2 and isinstance(node, list):
        node.insert(key, node[key])
    elif kind == 2:
        node[rng.choice(("", "x", "50", "nan", "1e999", "a\0b", "a\ud800b", *map(str, list(node)[:3])))] = node[key]
    else:
        node[key] = new
    return tree


def json_tree(data: bytes, rng: Random) -> bytes:
    """Change values of a JSON file."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return word(data, rng)
    for _ in range(rng.choice((1, 1, 2, 4))):
        tree = change_tree(tree, rng)
    return json.dumps(tree).encode()


JSON: tuple[Mutation, ...] = (json_tree,) * 12 + TEXT


IMAGE: tuple[Mutation, ...] = (set_integer,) * 8 + BYTES


def mutated(data: bytes, mutations: tuple[Mutation, ...], rng: Random) -> bytes:
    """Return a file with one to four mutations."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        data = rng.choice(mutations)(data, rng)[:MOST_BYTES]
    return data
