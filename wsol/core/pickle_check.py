"""What a PyTorch file's pickles say, checked before torch reads them: nothing is built, no opcode is executed.

torch's own reader of untrusted files runs no code, but takes minutes over a text of 100,000 letters where it expects
something else, and allocates whatever number of bytes a few declare. In: an open pickle. Out: nothing, or a ValueError.
"""

import pickletools
from collections import deque
from typing import IO, Any

MOST_LETTERS = 10_000  # of a text in a pickle, such as a path or the name of a class
MAKERS = ("builtins bytearray", "__builtin__ bytearray")  # they make as many zero bytes as they are told
NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1")
BETWEEN = ("NONE", "TUPLE", "BINPUT", "LONG_BINPUT", "MEMOIZE")  # a storage's number of elements and its BINPERSID


def check_pickle(stream: IO[bytes] | Any, most_elements: int) -> None:  # noqa: ANN401 (a mapped file has no other type)
    """Check the pickle that starts at a stream's position; the stream is after it then.

    Args:
        stream: has `read` and `readline`; it must not allocate more than it has, as a BytesIO or a mapped file does not.
        most_elements: of a storage of numbers, which is in the same file.

    Raises:
        ValueError: it is not a whole pickle, has a text of more than MOST_LETTERS, a storage whose number of elements is
            larger or not stated as torch states it, or calls one of MAKERS.
    """
    before: deque[tuple[str, Any]] = deque(maxlen=5)  # name and argument of the last opcodes
    for opcode, argument, _ in pickletools.genops(stream):
        if isinstance(argument, str | bytes) and len(argument) > MOST_LETTERS:
            raise ValueError(f"a text of {len(argument)} letters")
        if argument in MAKERS:
            raise ValueError(f"calls {argument}")
        if opcode.name == "BINPERSID":
            name, stated = next((one for one in reversed(before) if one[0] not in BETWEEN), ("", None))
            if name not in NUMBERS or stated is None or not 0 <= stated <= most_elements:
                raise ValueError("a storage of more numbers than the file has")
        before.append((opcode.name, argument))
