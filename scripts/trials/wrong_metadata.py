"""Wrong metadata and hierarchies, for wrong_files.py.

Each table maps the name of a fault to an edit of the valid file. A trailing REFUSED, ACCEPTED or EITHER says how the command
should end (default: refused), and a further tuple what its message must name (default: the file).
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from scripts.trials.common import ACCEPTED, EITHER, REFUSED, Case
from scripts.trials.workspace import BASE
from scripts.trials.wrong_common import DIGITS, SPECIAL, Edit, edited, special


def _first_line(change: Callable[[str], str]) -> Edit:
    """Return an edit of a text's first line."""

    def edit(good: bytes) -> bytes:
        first, rest = good.decode().split("\n", 1)
        return f"{change(first)}\n{rest}".encode()

    return edit


def _last_field(value: str) -> Edit:
    return _first_line(lambda line: f"{line.rpartition(',')[0]},{value}")


def twice(good: bytes) -> bytes:
    """Return a text with its first line repeated."""
    return good.split(b"\n")[0] + b"\n" + good


# Edits that corrupt any text file; every command must refuse a data set with one of them.
SPOILT: dict[str, Edit] = {
    "NUL bytes": lambda good: bytes(50),
    "Latin-1": lambda good: "\xe4\xf6\xfc".encode("latin-1") + good,
    "UTF-16": lambda good: good.decode().encode("utf-16"),
    "binary": lambda good: bytes(range(256)),
}
# Edits that corrupt lines of fields.
NUMBERS: dict[str, Edit] = {
    "a field missing": _first_line(lambda line: line.rpartition(",")[0]),
    "a field more": _first_line(lambda line: line + ",7"),
    "an empty field": _last_field(""),
    "negative": _last_field("-3"),
    "text for a number": _last_field("x"),
    "a fraction": _last_field("1.5"),
    "NaN": _last_field("nan"),
    "5,000 digits": _last_field(DIGITS),
    "10**30": _last_field("1" + "0" * 30),
    "an empty line": lambda good: b"\n" + good,
    "semicolons": lambda good: good.replace(b",", b";"),
}
# Metadata files: the command that reads each, and its edits.
SPLIT = "metadata/Mini/val"
METADATA: dict[str, tuple[str, dict[str, tuple]]] = {
    f"{SPLIT}/image_ids.txt": (
        "evaluation.py",
        {
            "an id twice": (twice,),
            "a path outside": (_first_line(lambda line: "../" + line),),
            "an absolute path": (_first_line(lambda line: "/" + line),),
            "empty": (lambda good: b"", REFUSED, ("image_ids.txt", "Mini val")),
            "an unknown id": (_first_line(lambda line: "nonsense.png"), REFUSED, ("nonsense.png",)),
            "NUL in an id": (_first_line(lambda line: "a\0b"), REFUSED, ("image_ids", "a\0b", "a\\x00b", "missing")),
            "an empty line": (lambda good: b"\n" + good,),
        },
    ),
    f"{SPLIT}/image_sizes.txt": (
        "evaluation.py",
        {
            **{name: (edit,) for name, edit in NUMBERS.items() if name not in ("10**30", "a field more")},
            "10**30": (NUMBERS["10**30"], EITHER, ("image_sizes.txt", "0_mask.png")),
            "a field more": (NUMBERS["a field more"],),
            "zero": (_last_field("0"),),
            "an id twice": (twice,),
            "empty": (lambda good: b"",),
            "one pixel": (
                _first_line(lambda line: line.rsplit(",", 2)[0] + ",1,1"),
                REFUSED,
                ("localization.txt", "image_sizes.txt"),
            ),
        },
    ),
    f"{SPLIT}/localization.txt": (
        "evaluation.py",
        {
            **{name: (edit,) for name, edit in NUMBERS.items()},
            "inverted": (_first_line(lambda line: line.rsplit(",", 4)[0] + ",30,30,3,3"),),
            "outside": (_first_line(lambda line: line.rsplit(",", 4)[0] + ",3,3,300,300"),),
            "an unknown id": (
                _first_line(lambda line: "nonsense.png,1,1,2,2"),
                REFUSED,
                ("nonsense.png", "localization.txt"),
            ),
            "a box twice": (twice, ACCEPTED),
        },
    ),
    f"{SPLIT}/masks.txt": (
        "evaluation.py",
        {
            "a field missing": (NUMBERS["a field missing"],),
            "a path outside": (_first_line(lambda line: line.split(",")[0] + ",../../x.png,"),),
            "an unknown mask": (_first_line(lambda line: line.split(",")[0] + ",no.png,"), REFUSED, ("no.png",)),
            "an absolute mask": (_first_line(lambda line: line.split(",")[0] + ",/dev/zero,"), REFUSED, ("masks.txt",)),
            "semicolons": (NUMBERS["semicolons"],),
            "empty": (lambda good: b"", EITHER),
        },
    ),
    f"{SPLIT}/class_labels.txt": (
        "main.py",
        {
            **{name: (edit,) for name, edit in NUMBERS.items() if name not in ("10**30", "a field more")},
            "10**30": (NUMBERS["10**30"], EITHER, ("class_labels.txt", "class_names.txt")),
            "an id twice": (twice,),
            "empty": (lambda good: b"",),
            "a label without name": (_last_field("99"), EITHER, ("class_labels.txt", "class_names.txt")),
        },
    ),
    "metadata/Mini/train/class_labels_order.txt": (
        "main.py",
        {
            **{name: (edit,) for name, edit in NUMBERS.items() if name not in ("10**30", "a field more")},
            "an id twice": (twice,),
            "two parents": (_last_field("1"), REFUSED, ("order", "ant")),
        },
    ),
    "metadata/Mini/class_names.txt": (
        "main.py",
        {
            "a field missing": (NUMBERS["a field missing"],),
            "text for a number": (NUMBERS["text for a number"],),
            "negative": (NUMBERS["negative"],),
            "5,000 digits": (NUMBERS["5,000 digits"],),
            "a label twice": (twice,),
            "empty": (lambda good: b"", EITHER),
            "an empty name": (_first_line(lambda line: ",0"), EITHER),
        },
    ),
    "metadata/Mini/levels.txt": (
        "main.py",
        {
            "a level twice": (twice,),
            "an unknown level": (lambda good: good + b"nonsense\n", EITHER, ("levels.txt", "nonsense")),
            "a path": (lambda good: good + b"../x\n", REFUSED, ("levels.txt", "../x")),
            "empty": (lambda good: b"", EITHER),
            "an empty line": (lambda good: good + b"\n",),
            "300 characters": (lambda good: b"n" * 300 + b"\n" + good, EITHER),
        },
    ),
    "metadata/Mini/hierarchy.csv": (
        "dataset/add_levels.py",
        {
            "a field missing": (lambda good: good + b"emu\n",),
            "a class twice": (lambda good: good + good.split(b"\n")[1] + b"\n",),
            "two parents": (lambda good: good + b"ant,mammals\n",),
            "no header": (lambda good: good.split(b"\n", 1)[1],),
            "empty": (lambda good: b"",),
            "header alone": (lambda good: good.split(b"\n")[0],),
            "an open quote": (lambda good: good + b'"emu,birds\n',),
            "semicolons": (NUMBERS["semicolons"],),
            "a quoted field over two lines": (lambda good: good + b'"em\nu",birds\n',),
        },
    ),
}
TREES = {
    "a cycle": "child,parent\nant,x\nx,ant\n",
    "two roots": "child,parent\nant,x\nbee,x\ncat,y\ndog,y\n",
    "two parents": "child,parent\nant,x\nant,y\nx,z\ny,z\n",
    "itself": "child,parent\nant,ant\n",
    "no class": "child,parent\na,b\n",
    "empty": "",
    "header alone": "child,parent\n",
    "a field missing": "child,parent\nant\n",
    "another header": "a,b\nant,x\n",
    "100,000 deep": "child,parent\n" + "".join(f"n{i},n{i + 1}\n" for i in range(100000)),
}


def metadata_cases() -> Iterator[Case]:
    """Yield cases that corrupt a data set's files, one at a time."""
    for file, (command, edits) in METADATA.items():
        short = file.removeprefix("metadata/Mini/")
        words = [*BASE[command], *(["--label_level", "order"] if "order" in file else [])]
        name = Path(file).name
        for what, (edit, *rest) in {**edits, **{what: (edit,) for what, edit in SPOILT.items()}}.items():
            expected, names = (*rest, REFUSED)[0], rest[1] if len(rest) > 1 else (name,)
            yield Case(f"{short}: {what}", command, words, expected, names, edited(file, edit))
        for what, edit in {
            "CRLF": lambda good: good.replace(b"\n", b"\r\n"),
            "BOM": lambda good: b"\xef\xbb\xbf" + good,
        }.items():
            yield Case(f"{short}: {what}", command, words, ACCEPTED, (name,), edited(file, edit))
        for kind in SPECIAL:
            setup = partial(special, file, kind)
            yield Case(f"{short}: {kind}", command, words, REFUSED, (name, "Mini"), setup)
    for what, text in TREES.items():

        def put_tree(folder: Path, text: str = text) -> None:
            (folder / "metadata/Mini/hierarchy.csv").unlink()
            (folder / "metadata/Mini/tree.csv").write_text(text)

        yield Case(f"tree.csv: {what}", "dataset/add_levels.py", ["Mini"], REFUSED, ["tree.csv"], put_tree)
