"""Wrong text files, for wrong_files.py: JSON, CSV, XML, YAML, lists.

Each table maps the name of a fault to an edit of the valid file. A trailing REFUSED, ACCEPTED or EITHER says how the command
should end (default: refused).
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from scripts.trials.common import ACCEPTED, EITHER, REFUSED, Case
from scripts.trials.workspace import BASE
from scripts.trials.wrong_common import DIGITS, SPECIAL, Edit, edited, put, special
from scripts.trials.wrong_metadata import NUMBERS, SPOILT, twice


def _written(content: object) -> Edit:
    """Return an edit that replaces a file by JSON or bytes."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda good: raw


def _json(change: Callable[[Any], object]) -> Edit:
    def edit(good: bytes) -> bytes:
        content = json.loads(good)
        changed = change(content)
        return json.dumps(content if changed is None else changed).encode()

    return edit


# Every reader of JSON must refuse these.
NO_JSON: dict[str, Edit] = {
    "null": _written(None),
    "a number": _written(3),
    "text": _written("x"),
    "a list of numbers": _written([1, 2]),
    "an empty object": _written({}),
    "empty file": _written(b""),
    "truncated": lambda good: good[: len(good) // 2],
    "5,000 digits": _written(b"[" + DIGITS.encode() + b"]"),
    "100,000 brackets": _written(b"[" * 100000),
    "not UTF-8": _written(b"\xff\xfe{}"),
    "NUL bytes": _written(bytes(20)),
    "a pickle": _written(b"cos\nsystem\n(S'true'\ntR."),
}


def _set(*path: object, value: object) -> Callable[[Any], None]:
    return lambda content: _put_in(content, path, value)


def _put_in(content: dict | list, path: tuple, value: object) -> None:
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = value


def _without(key: str) -> Callable[[dict], dict]:
    return lambda content: {name: value for name, value in content.items() if name != key}


THRESHOLDS: dict[str, tuple] = {
    "as it is": (lambda good: good, ACCEPTED),
    **{
        f"best_threshold is {value!r}": (_json(_set("val", "best_threshold", value=value)),)
        for value in (None, 3, "0.5", [0.5], {}, {"30": 0.5}, {"x": 0.5})
    },
    **{
        f"a threshold of {value!r}": (_json(_set("val", "best_threshold", "50", value=value)),)
        for value in ("0.5", -0.5, 1, 7, True, None, float("nan"), 10**30, [0.1], 0.123)
    },
    "another data set": (_json(_set("dataset_name", value="Other")),),
    "another box rule": (_json(_set("val", "box_rule", value="largest_contour")),),
    "a list as data set": (_json(_set("dataset_name", value=["Mini"])),),
    "results of test": (_json(lambda content: {**content["test"], "split": "test", "dataset_name": "Mini"}),),
    "a number as split": (_json(lambda content: {**content["val"], "split": 3}),),
    "val is a list": (_json(_set("val", value=[1])),),
}
DETECTIONS: dict[str, tuple] = {
    "as it is": (lambda good: good, ACCEPTED),
    "an empty list": (_written([]),),
    **{
        f"{key} is {str(value)[:12]!r}": (_json(_set(0, key, value=value)),)
        for key, value in (
            ("bbox", None),
            ("bbox", [1, 2, 3]),
            ("bbox", [1, 2, -3, 4]),
            ("bbox", ["1", 2, 3, 4]),
            ("bbox", [float("nan")] * 4),
            ("bbox", [10**400, 1, 1, 1]),
            ("score", None),
            ("score", "0.5"),
            ("score", float("inf")),
            ("score", 10**400),
            ("image_id", None),
            ("image_id", 3),
            ("image_id", ["a"]),
        )
    },
    "an object": (_json(lambda content: {"images": content}),),
}
COCO: dict[str, tuple] = {
    "as it is": (lambda good: good, ACCEPTED),
    **{f"no {key}": (_json(_without(key)),) for key in ("images", "annotations", "categories")},
    **{
        f"images: {key} is {str(value)[:12]!r}": (_json(_set("images", 0, key, value=value)),)
        for key, value in (
            ("id", None),
            ("id", [1]),
            ("id", 1),
            ("file_name", 3),
            ("file_name", None),
            ("width", "x"),
            ("width", -1),
            ("width", 10**30),
            ("width", 7),
        )
    },
    "images: file_name is '/etc/passwd'": (_json(_set("images", 0, "file_name", value="/etc/passwd")), EITHER),
    "images: file_name has a NUL": (_json(_set("images", 0, "file_name", value="a\0b")), EITHER),
    "images: file_name has a surrogate": (_json(_set("images", 0, "file_name", value="a\ud800b")), EITHER),
    "images: file_name is empty": (_json(_set("images", 0, "file_name", value="")), EITHER),
    **{
        f"annotations: {key} is {str(value)[:12]!r}": (_json(_set("annotations", 0, key, value=value)),)
        for key, value in (
            ("image_id", 99),
            ("image_id", None),
            ("category_id", 99),
            ("category_id", [1]),
            ("bbox", 3),
            ("bbox", [1, 2, 3]),
            ("bbox", [0, 0, 0, 0]),
            ("bbox", [-5, 1, 9, 9]),
            ("bbox", [1, 1, 900, 9]),
            ("bbox", [float("nan")] * 4),
            ("bbox", ["1", "1", "9", "9"]),
            ("bbox", [1e300] * 4),
        )
    },
    "categories: name is None": (_json(_set("categories", 0, "name", value=None)),),
    "categories: an id twice": (_json(_set("categories", 0, "id", value=1)),),
}
BOXES: dict[str, Edit | tuple] = {
    **SPOILT,
    "inverted": lambda good: good + b"ant/0.jpg,30,30,3,3\n",
    "outside": lambda good: good + b"ant/0.jpg,3,3,300,300\n",
    "negative": lambda good: good + b"ant/0.jpg,-3,3,9,9\n",
    "text": lambda good: good + b"ant/0.jpg,a,b,c,d\n",
    "infinite": lambda good: good + b"ant/0.jpg,inf,1,2,3\n",
    "5,000 digits": lambda good: good + f"ant/0.jpg,1,1,{DIGITS},9\n".encode(),
    "a field missing": lambda good: good + b"ant/0.jpg,1,1,2\n",
    "a column twice": lambda good: b"image,x0,y0,x1,x1\n",
    "no header": lambda good: good.split(b"\n", 1)[1],
    "empty": lambda good: b"",
    "an open quote": lambda good: good + b'"ant/0.jpg,1,1,9,9\n',
    "a megabyte in a field": lambda good: good + b"x" * (1 << 20),
    "a quoted field over two lines": lambda good: good + b'"ant/\n0.jpg",1,1,9,9\n',
    "UTF-16": (SPOILT["UTF-16"], EITHER),  # read if it has a byte order mark
}


def _voc(xmin: object, size: str = "") -> bytes:
    edges = f"<xmin>{xmin}</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
    return f"<annotation>{size}<object><bndbox>{edges}</bndbox></object></annotation>".encode()


VOC = {
    "a DOCTYPE": b'<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>',
    "empty": b"",
    "text": b"nonsense",
    "truncated": b"<annotation><object>",
    "an unknown encoding": b'<?xml version="1.0" encoding="nonsense"?><annotation/>',
    "no box": b"<annotation><object><name>a</name></object></annotation>",
    "100,000 levels": b"<a>" * 100000,
    **{f"xmin is {str(value)[:9]}": _voc(value) for value in ("x", "nan", "inf", "-7", "1e999", "30", DIGITS)},
    "another size": _voc(1, "<size><width>9</width><height>9</height></size>"),
}
LISTS: dict[str, Edit | tuple] = {  # of image ids
    "empty": lambda good: b"",
    "an unknown id": lambda good: good + b"nonsense.png\n",
    "an id twice": twice,
    "of train": lambda good: b"train/ant/0.png\n",
    "an empty line": lambda good: good + b"\n\n",
    **SPOILT,
}
RANKS: dict[str, Edit | tuple] = {
    "empty": lambda good: b"",
    "no header": lambda good: good.split(b"\n", 1)[1],
    "an id missing": lambda good: good[:60],
    "negative": lambda good: good.replace(b",0", b",-1"),
    "a fraction": lambda good: good.replace(b",0", b",0.5"),
    "10**30": (lambda good: good.replace(b",0", b",1" + b"0" * 30, 1), EITHER),
    "5,000 digits": lambda good: good.replace(b",0", b"," + b"9" * 5000, 1),
    "an id twice": lambda good: good + good.split(b"\n")[1] + b"\n",
    "semicolons": NUMBERS["semicolons"],
    "an open quote": lambda good: good + b'"x,1\n',
    **SPOILT,
}
COARSENING: dict[str, Edit | tuple] = {
    "empty": lambda good: b"",
    "no header": lambda good: good.split(b"\n", 1)[1],
    "a class missing": lambda good: good[:20],
    "an unknown class": lambda good: good + b"emu,1\n",
    "a class twice": lambda good: good + b"ant,1\n",
    "negative": lambda good: good.replace(b",1", b",-1", 1),
    "a fraction": lambda good: good.replace(b",1", b",0.5", 1),
    "5,000 digits": lambda good: good.replace(b",1", b"," + b"9" * 5000, 1),
    "a descendant of another": lambda good: good.replace(b",1", b",0", 1),
    "text": lambda good: good.replace(b",1", b",x", 1),
    "all in one": lambda good: good.replace(b",1", b",9"),
    **SPOILT,
}
ODD: tuple[object, ...] = (None, 3, [1], {})
RESULTS: dict[str, Edit | tuple] = {
    **{f"test is {value!r}": _json(_set("test", value=value)) for value in ODD},
    **{f"MaxBoxAcc is {value!r}": _json(_set("test", "MaxBoxAcc", value=value)) for value in (3, [1], {"50": "x"})},
    "MaxBoxAccV2 is text": _json(_set("test", "MaxBoxAccV2", value="x")),
    "top1_cls is a list": _json(_set("test", "top1_cls", value=[1])),
    "no top1_cls": (_json(lambda c: c["test"].pop("top1_cls") and None), EITHER),
}
SWEPT = "train_log/sweep/species-seed0"
IMPORT = "dataset/import_dataset.py"
CONFIGS = {
    "empty": b"",
    "a list": b"- 1\n",
    "text": b"nonsense",
    "no YAML": b"a: b: c",
    "a tag": b"a: !!python/name:os.system\n",
    "10,000 brackets": b"[" * 10000,
    "a date": b"lr: 2001-99-99\n",
    "one option": b"lr: 0.1\n",
    "NUL bytes": bytes(9),
}


Table = tuple[str, str, str, list[str], Mapping[str, Edit | tuple]]  # title, file, command, words, edits


def _tables() -> tuple[Table, ...]:
    """Return the files whose edits are tables; "{}" in a command's words stands for the file."""
    scored = [*BASE["evaluation.py"], "--multi_contour_eval", "--multi_iou_eval", "--cam_curve_interval", "0.1"]
    importing = ["Own", "--images", "photos", "--boxes", "{}"]
    return (
        ("thresholds", "train_log/mini/results.json", "evaluation.py", [*scored, "--thresholds_from", "{}"], THRESHOLDS),
        ("detections", "detections.json", "evaluation.py", [*scored, "--boxes", "{}"], DETECTIONS),
        ("COCO", "coco.json", IMPORT, importing, COCO),
        (
            "COCO names",
            "coco.json",
            "evaluation.py",
            [*scored, "--boxes", "detections.json", "--coco_images", "{}"],
            NO_JSON,
        ),
        (
            "iNaturalist's JSON",
            "train.json",
            "dataset/build_inatloc.py",
            [*BASE["dataset/build_inatloc.py"], "--train_json", "{}"],
            NO_JSON,
        ),
        ("box table", "boxes.csv", IMPORT, importing, BOXES),
        ("image list", "ids.txt", "evaluation.py", [*scored, "--image_list", "{}"], LISTS),
        ("image list of inference", "ids.txt", "inference.py", [*BASE["inference.py"], "--image_list", "{}"], LISTS),
        ("class ranks", "ranks.csv", "evaluation.py", [*scored, "--class_ranks", "{}"], RANKS),
        ("coarsening", "coarsening.csv", "main.py", [*BASE["main.py"], "--coarsening", "{}"], COARSENING),
        (
            "run's results",
            "train_log/mini/results.json",
            "scripts/compare_runs.py",
            ["a=train_log/mini"],
            {**RESULTS, **NO_JSON},
        ),
        (
            "run's configuration",
            "train_log/mini/config.yaml",
            "scripts/compare_runs.py",
            ["a=train_log/mini", "--page", "page.png"],
            _configs(),
        ),
    )


def _configs() -> dict[str, Edit]:
    return {name: _written(content) for name, content in CONFIGS.items()}


def text_cases() -> Iterator[Case]:
    """Yield wrong JSON, CSV, XML, YAML and lists for the commands that read them."""
    yield from _table_cases()
    for what, text in VOC.items():
        setup = partial(put, "voc/ant/0.xml", text)
        expected = EITHER if what == "xmin is 30" else REFUSED
        yield Case(f"VOC: {what}", IMPORT, ["Own", "--images", "photos", "--boxes", "voc"], expected, ["0.xml"], setup)
    for what, file, spoilt in (("configuration", "config.yaml", _configs()), ("results", "results.json", NO_JSON)):
        for name, edit in spoilt.items():

            def spoil(folder: Path, file: str = file, edit: Edit = edit) -> None:
                shutil.copytree(folder / "train_log/mini", folder / SWEPT)
                edited(f"{SWEPT}/{file}", edit)(folder)

            expected = EITHER if what == "results" else REFUSED
            words = BASE["scripts/sweep.py"]
            yield Case(f"sweep's {what}: {name}", "scripts/sweep.py", words, expected, [file, SWEPT], spoil)


def _table_cases() -> Iterator[Case]:
    """Yield the cases of `_tables`, and a case for each special file in place of each of theirs."""
    for title, file, command, words, edits in _tables():
        if any("{}" in word for word in words) and file.endswith(".json") and edits is not NO_JSON:
            edits = {**edits, **NO_JSON}
        words = [word.format(file) for word in words]
        for what, entry in edits.items():
            edit, *rest = entry if isinstance(entry, tuple) else (entry,)
            expected = EITHER if title == "image list" and what == "an empty line" else (*rest, REFUSED)[0]
            names = [Path(file).name, "train_log/mini"]
            yield Case(f"{title}: {what}", command, words, expected, names, edited(file, edit))
        for kind in SPECIAL:
            setup = partial(special, file, kind)
            yield Case(
                f"{title}: {kind}", command, words, REFUSED, [Path(file).name, "train_log/mini", "no labelled"], setup
            )
