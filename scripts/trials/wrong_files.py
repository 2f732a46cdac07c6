"""Trial: wrong files of every kind that the commands read, well-formed ones and malformed ones.

    python scripts/trials/wrong_files.py                      # all, a few minutes
    python scripts/trials/wrong_files.py --only '^map' --verbose
    python scripts/trials/wrong_files.py --count 100          # some, drawn by --seed

Each file is to be refused with exit code 2 and one message that names it, or, where it is fine after all, to be taken; in no
more than 3 GB, without a warning of a library, and with nothing changed. Binary kinds stand in wrong_binaries.py.
"""

import json
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from scripts.trials.common import ACCEPTED, EITHER, REFUSED, Case, finish, import_commands, run_cases, trial_options
from scripts.trials.workspace import BASE, TINY, make_workspace
from scripts.trials.wrong_binaries import SPECIAL, _special, archive_cases, picture_cases, torch_cases

DIGITS = "9" * 5000
Edit = Callable[[bytes], bytes]


def _first_line(change: Callable[[str], str]) -> Edit:
    """Return an edit of a text's first line."""

    def edit(good: bytes) -> bytes:
        first, rest = good.decode().split("\n", 1)
        return f"{change(first)}\n{rest}".encode()

    return edit


def _last_field(value: str) -> Edit:
    return _first_line(lambda line: f"{line.rpartition(',')[0]},{value}")


# How any file of text is spoilt; no file of a data set may be so.
SPOILT: dict[str, Edit] = {
    "NUL bytes": lambda good: bytes(50),
    "Latin-1": lambda good: "\xe4\xf6\xfc".encode("latin-1") + good,
    "UTF-16": lambda good: good.decode().encode("utf-16"),
    "binary": lambda good: bytes(range(256)),
}
# How lines of fields are spoilt.
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
# The lines of metadata: file, command that reads it, spoilt as numbers or not, edits of its own.
TWICE: Edit = lambda good: good.split(b"\n")[0] + b"\n" + good
SPLIT = "metadata/Mini/val"
METADATA: dict[str, tuple[str, dict[str, tuple]]] = {
    f"{SPLIT}/image_ids.txt": ("evaluation.py", {
        "an id twice": (TWICE,), "a path outside": (_first_line(lambda line: "../" + line),),
        "an absolute path": (_first_line(lambda line: "/" + line),), "empty": (lambda good: b"",),
        "an unknown id": (_first_line(lambda line: "nonsense.png"), REFUSED, ("nonsense.png",)),
        "NUL in an id": (_first_line(lambda line: "a\0b"), REFUSED, ("image_ids", "a\0b", "a\\x00b", "missing")),
        "an empty line": (lambda good: b"\n" + good,),
    }),
    f"{SPLIT}/image_sizes.txt": ("evaluation.py", {
        **{name: (edit,) for name, edit in NUMBERS.items() if name not in ("10**30", "a field more")},
        "10**30": (NUMBERS["10**30"], EITHER),
        "a field more": (NUMBERS["a field more"],), "zero": (_last_field("0"),), "an id twice": (TWICE,),
        "empty": (lambda good: b"",), "one pixel": (_first_line(lambda line: line.rsplit(",", 2)[0] + ",1,1"),
        REFUSED, ("localization.txt", "image_sizes.txt")),
    }),
    f"{SPLIT}/localization.txt": ("evaluation.py", {
        **{name: (edit,) for name, edit in NUMBERS.items()},
        "inverted": (_first_line(lambda line: line.rsplit(",", 4)[0] + ",30,30,3,3"),),
        "outside": (_first_line(lambda line: line.rsplit(",", 4)[0] + ",3,3,300,300"),),
        "an unknown id": (_first_line(lambda line: "nonsense.png,1,1,2,2"), REFUSED, ("nonsense.png", "localization.txt")),
        "a box twice": (TWICE, ACCEPTED),
    }),
    f"{SPLIT}/masks.txt": ("evaluation.py", {
        "a field missing": (NUMBERS["a field missing"],), "a path outside": (_first_line(lambda line: line.split(",")[0] +
        ",../../x.png,"),), "an unknown mask": (_first_line(lambda line: line.split(",")[0] + ",no.png,"), REFUSED, ("no.png",)),
        "an absolute mask": (_first_line(lambda line: line.split(",")[0] + ",/dev/zero,"), REFUSED, ("masks.txt",)),
        "semicolons": (NUMBERS["semicolons"],), "empty": (lambda good: b"", EITHER),
    }),
    f"{SPLIT}/class_labels.txt": ("main.py", {
        **{name: (edit,) for name, edit in NUMBERS.items() if name not in ("10**30", "a field more")},
        "10**30": (NUMBERS["10**30"], EITHER), "an id twice": (TWICE,), "empty": (lambda good: b"",),
        "a label without name": (_last_field("99"), EITHER),
    }),
    "metadata/Mini/train/class_labels_order.txt": ("main.py", {
        **{name: (edit,) for name, edit in NUMBERS.items() if name not in ("10**30", "a field more")},
        "an id twice": (TWICE,), "two parents": (_last_field("1"), REFUSED, ("order", "ant")),
    }),
    "metadata/Mini/class_names.txt": ("main.py", {
        "a field missing": (NUMBERS["a field missing"],), "text for a number": (NUMBERS["text for a number"],),
        "negative": (NUMBERS["negative"],), "5,000 digits": (NUMBERS["5,000 digits"],), "a label twice": (TWICE,),
        "empty": (lambda good: b"", EITHER), "an empty name": (_first_line(lambda line: ",0"), EITHER),
    }),
    "metadata/Mini/levels.txt": ("main.py", {
        "a level twice": (TWICE,), "an unknown level": (lambda good: good + b"nonsense\n", REFUSED, ("levels.txt", "nonsense")),
        "a path": (lambda good: good + b"../x\n", REFUSED, ("levels.txt", "../x")), "empty": (lambda good: b"", EITHER),
        "an empty line": (lambda good: good + b"\n",), "300 characters": (lambda good: b"n" * 300 + b"\n" + good,),
    }),
    "metadata/Mini/hierarchy.csv": ("dataset/add_levels.py", {
        "a field missing": (lambda good: good + b"emu\n",), "a class twice": (lambda good: good + good.split(b"\n")[1] + b"\n",),
        "two parents": (lambda good: good + b"ant,mammals\n",), "no header": (lambda good: good.split(b"\n", 1)[1],),
        "empty": (lambda good: b"",), "header alone": (lambda good: good.split(b"\n")[0],),
        "an open quote": (lambda good: good + b'"emu,birds\n',), "semicolons": (NUMBERS["semicolons"],),
        "a quoted field over two lines": (lambda good: good + b'"em\nu",birds\n',),
    }),
}  # fmt: skip
TREES = {
    "a cycle": "child,parent\nant,x\nx,ant\n", "two roots": "child,parent\nant,x\nbee,x\ncat,y\ndog,y\n",
    "two parents": "child,parent\nant,x\nant,y\nx,z\ny,z\n", "itself": "child,parent\nant,ant\n", "no class": "child,parent\na,b\n",
    "empty": "", "header alone": "child,parent\n", "a field missing": "child,parent\nant\n", "another header": "a,b\nant,x\n",
    "100,000 deep": "child,parent\n" + "".join(f"n{i},n{i + 1}\n" for i in range(100000)),
}  # fmt: skip


def metadata_cases() -> Iterator[Case]:
    """Yield a data set's files, spoilt one at a time."""
    for file, (command, edits) in METADATA.items():
        short = file.removeprefix("metadata/Mini/")
        words = [*BASE[command], *(["--label_level", "order"] if "order" in file else [])]
        name = Path(file).name
        for what, (edit, *rest) in {**edits, **{what: (edit,) for what, edit in SPOILT.items()}}.items():
            expected, names = (*rest, REFUSED)[0], rest[1] if len(rest) > 1 else (name,)
            yield Case(f"{short}: {what}", command, words, expected, names, _edited(file, edit))
        for what, edit in {
            "CRLF": lambda good: good.replace(b"\n", b"\r\n"),
            "BOM": lambda good: b"\xef\xbb\xbf" + good,
        }.items():
            yield Case(f"{short}: {what}", command, words, ACCEPTED, (name,), _edited(file, edit))
        for kind in SPECIAL:
            setup = lambda folder, kind=kind, file=file: _special(folder, file, kind)
            yield Case(f"{short}: {kind}", command, words, REFUSED, (name, "Mini"), setup)
    for what, text in TREES.items():

        def setup(folder: Path, text: str = text) -> None:
            (folder / "metadata/Mini/hierarchy.csv").unlink()
            (folder / "metadata/Mini/tree.csv").write_text(text)

        yield Case(f"tree.csv: {what}", "dataset/add_levels.py", ["Mini"], REFUSED, ["tree.csv"], setup)


def _edited(file: str, edit: Edit) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_bytes(edit((folder / file).read_bytes()))


def _written(content: object) -> Edit:
    """Return an edit that puts JSON, or bytes, in a file's place."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda good: raw


def _json(change: Callable[[object], object]) -> Edit:
    def edit(good: bytes) -> bytes:
        content = json.loads(good)
        changed = change(content)
        return json.dumps(content if changed is None else changed).encode()

    return edit


# Whatever JSON is read: no such file may end otherwise than refused.
NO_JSON: dict[str, Edit] = {
    "null": _written(None), "a number": _written(3), "text": _written("x"), "a list of numbers": _written([1, 2]),
    "an empty object": _written({}), "empty file": _written(b""), "truncated": lambda good: good[: len(good) // 2],
    "5,000 digits": _written(b"[" + DIGITS.encode() + b"]"), "100,000 brackets": _written(b"[" * 100000),
    "not UTF-8": _written(b"\xff\xfe{}"), "NUL bytes": _written(bytes(20)), "a pickle": _written(b"cos\nsystem\n(S'true'\ntR."),
}  # fmt: skip
_set = lambda *path, value: lambda content: _put_in(content, path, value)


def _put_in(content: dict | list, path: tuple, value: object) -> None:
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = value


THRESHOLDS: dict[str, tuple] = {
    "as it is": (lambda good: good, ACCEPTED),
    **{f"best_threshold is {value!r}": (_json(_set("val", "best_threshold", value=value)),)
       for value in (None, 3, "0.5", [0.5], {}, {"30": 0.5}, {"x": 0.5, "30": 0.1, "50": 0.1, "70": 0.1})},
    **{f"a threshold of {value!r}": (_json(_set("val", "best_threshold", "50", value=value)),)
       for value in ("0.5", -0.5, 1, 7, True, None, float("nan"), 10**30, [0.1], 0.123)},
    "another data set": (_json(_set("dataset_name", value="Other")),),
    "another box rule": (_json(_set("val", "box_rule", value="largest_contour")),),
    "a list as data set": (_json(_set("dataset_name", value=["Mini"])),),
    "results of test": (_json(lambda content: {**content["test"], "split": "test", "dataset_name": "Mini"}),),
    "a number as split": (_json(lambda content: {**content["val"], "split": 3}),),
    "val is a list": (_json(_set("val", value=[1])),),
}  # fmt: skip
DETECTIONS: dict[str, tuple] = {
    "as it is": (lambda good: good, ACCEPTED),
    "an empty list": (_written([]),),
    **{f"{key} is {str(value)[:12]!r}": (_json(_set(0, key, value=value)),)
       for key, value in (("bbox", None), ("bbox", [1, 2, 3]), ("bbox", [1, 2, -3, 4]), ("bbox", ["1", 2, 3, 4]),
                          ("bbox", [float("nan")] * 4), ("bbox", [1e308] * 4), ("bbox", [10**400, 1, 1, 1]), ("score", None),
                          ("score", "0.5"), ("score", float("inf")), ("score", 10**400), ("image_id", None), ("image_id", 3),
                          ("image_id", ["a"]))},
    "an object": (_json(lambda content: {"images": content}),),
}  # fmt: skip
COCO: dict[str, tuple] = {
    "as it is": (lambda good: good, ACCEPTED),
    **{f"no {key}": (_json(lambda content, key=key: {k: v for k, v in content.items() if k != key}),)
       for key in ("images", "annotations", "categories")},
    **{f"images: {key} is {str(value)[:12]!r}": (_json(_set("images", 0, key, value=value)),)
       for key, value in (("id", None), ("id", [1]), ("id", 1), ("file_name", 3), ("file_name", None), ("width", "x"),
                          ("width", -1), ("width", 10**30), ("width", 7))},
    "images: file_name is '/etc/passwd'": (_json(_set("images", 0, "file_name", value="/etc/passwd")), EITHER),
    "images: file_name has a NUL": (_json(_set("images", 0, "file_name", value="a\0b")), EITHER),
    "images: file_name has a surrogate": (_json(_set("images", 0, "file_name", value="a\ud800b")), EITHER),
    "images: file_name is empty": (_json(_set("images", 0, "file_name", value="")), EITHER),
    **{f"annotations: {key} is {str(value)[:12]!r}": (_json(_set("annotations", 0, key, value=value)),)
       for key, value in (("image_id", 99), ("image_id", None), ("category_id", 99), ("category_id", [1]), ("bbox", 3),
                          ("bbox", [1, 2, 3]), ("bbox", [0, 0, 0, 0]), ("bbox", [-5, 1, 9, 9]), ("bbox", [1, 1, 900, 9]),
                          ("bbox", [float("nan")] * 4), ("bbox", ["1", "1", "9", "9"]), ("bbox", [1e300] * 4))},
    "categories: name is None": (_json(_set("categories", 0, "name", value=None)),),
    "categories: an id twice": (_json(_set("categories", 0, "id", value=1)),),
}  # fmt: skip
BOXES = {
    **{name: edit for name, edit in SPOILT.items()},
    "inverted": lambda good: good + b"ant/0.jpg,30,30,3,3\n", "outside": lambda good: good + b"ant/0.jpg,3,3,300,300\n",
    "negative": lambda good: good + b"ant/0.jpg,-3,3,9,9\n", "text": lambda good: good + b"ant/0.jpg,a,b,c,d\n",
    "infinite": lambda good: good + b"ant/0.jpg,inf,1,2,3\n", "5,000 digits": lambda good: good + f"ant/0.jpg,1,1,{DIGITS},9\n".encode(),
    "a field missing": lambda good: good + b"ant/0.jpg,1,1,2\n", "a column twice": lambda good: b"image,x0,y0,x1,x1\n",
    "no header": lambda good: good.split(b"\n", 1)[1], "empty": lambda good: b"",
    "an open quote": lambda good: good + b'"ant/0.jpg,1,1,9,9\n', "a megabyte in a field": lambda good: good + b"x" * (1 << 20),
    "a quoted field over two lines": lambda good: good + b'"ant/\n0.jpg",1,1,9,9\n',
}  # fmt: skip
VOC = {
    "a DOCTYPE": b'<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "empty": b"", "text": b"nonsense",
    "truncated": b"<annotation><object>", "an unknown encoding": b'<?xml version="1.0" encoding="nonsense"?><annotation/>',
    "no box": b"<annotation><object><name>a</name></object></annotation>", "100,000 levels": b"<a>" * 100000,
    **{f"xmin is {str(v)[:9]}": f"<annotation><object><bndbox><xmin>{v}</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
       f"</object></annotation>".encode() for v in ("x", "nan", "inf", "-7", "1e999", "30", DIGITS)},
    "another size": b"<annotation><size><width>9</width><height>9</height></size><object><bndbox><xmin>1</xmin><ymin>1</ymin>"
       b"<xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>",
}  # fmt: skip
LISTS = {  # of image ids
    "empty": lambda good: b"", "an unknown id": lambda good: good + b"nonsense.png\n", "an id twice": TWICE,
    "of train": lambda good: b"train/ant/0.png\n", "an empty line": lambda good: good + b"\n\n", **SPOILT,
}  # fmt: skip
RANKS = {
    "empty": lambda good: b"", "no header": lambda good: good.split(b"\n", 1)[1], "an id missing": lambda good: good[:60],
    "negative": lambda good: good.replace(b",0", b",-1"), "a fraction": lambda good: good.replace(b",0", b",0.5"),
    "10**30": lambda good: good.replace(b",0", b",1" + b"0" * 30, 1), "5,000 digits": lambda good: good.replace(b",0", b"," + b"9" * 5000, 1),
    "an id twice": lambda good: good + good.split(b"\n")[1] + b"\n", "semicolons": NUMBERS["semicolons"],
    "an open quote": lambda good: good + b'"x,1\n', **SPOILT,
}  # fmt: skip
COARSENING = {
    "empty": lambda good: b"", "no header": lambda good: good.split(b"\n", 1)[1], "a class missing": lambda good: good[:20],
    "an unknown class": lambda good: good + b"emu,1\n", "a class twice": lambda good: good + b"ant,1\n",
    "negative": lambda good: good.replace(b",1", b",-1", 1), "a fraction": lambda good: good.replace(b",1", b",0.5", 1),
    "5,000 digits": lambda good: good.replace(b",1", b"," + b"9" * 5000, 1), "a descendant of another": lambda good: good.replace(b",1", b",0", 1),
    "text": lambda good: good.replace(b",1", b",x", 1), "all in one": lambda good: good.replace(b",1", b",9"), **SPOILT,
}  # fmt: skip
RESULTS = {
    **{f"test is {value!r}": _json(_set("test", value=value)) for value in (None, 3, [1], {})},
    **{f"MaxBoxAcc is {value!r}": _json(_set("test", "MaxBoxAcc", value=value)) for value in (3, [1], {"50": "x"})},
    "MaxBoxAccV2 is text": _json(_set("test", "MaxBoxAccV2", value="x")),
    "top1_cls is a list": _json(_set("test", "top1_cls", value=[1])), "no top1_cls": _json(lambda c: c["test"].pop("top1_cls") and None),
}  # fmt: skip
CONFIGS = {
    "empty": b"", "a list": b"- 1\n", "text": b"nonsense", "no YAML": b"a: b: c", "a tag": b"a: !!python/name:os.system\n",
    "10,000 brackets": b"[" * 10000, "a date": b"lr: 2001-99-99\n", "one option": b"lr: 0.1\n", **{"NUL bytes": bytes(9)},
}  # fmt: skip


def text_cases() -> Iterator[Case]:
    """Yield wrong JSON, CSV, XML, YAML and lists for the commands that read them."""
    scored = [*BASE["evaluation.py"], "--multi_contour_eval", "--multi_iou_eval", "--cam_curve_interval", "0.1"]
    importing = "dataset/import_dataset.py"
    tables = (  # title, file, command, words, edits
        ("thresholds", "train_log/mini/results.json", "evaluation.py", [*scored, "--thresholds_from", "{}"], THRESHOLDS),
        ("detections", "detections.json", "evaluation.py", [*scored, "--boxes", "{}"], DETECTIONS),
        ("COCO", "coco.json", importing, ["Own", "--images", "photos", "--boxes", "{}"], COCO),
        ("COCO names", "coco.json", "evaluation.py", [*scored, "--boxes", "detections.json", "--coco_images", "{}"], NO_JSON),
        ("iNaturalist's JSON", "train.json", "dataset/build_inatloc.py",
         [*BASE["dataset/build_inatloc.py"], "--train_json", "{}"], NO_JSON),
        ("box table", "boxes.csv", importing, ["Own", "--images", "photos", "--boxes", "{}"], BOXES),
        ("image list", "ids.txt", "evaluation.py", [*scored, "--image_list", "{}"], LISTS),
        ("image list of inference", "ids.txt", "inference.py", [*BASE["inference.py"], "--image_list", "{}"], LISTS),
        ("class ranks", "ranks.csv", "evaluation.py", [*scored, "--class_ranks", "{}"], RANKS),
        ("coarsening", "coarsening.csv", "main.py", [*BASE["main.py"], "--coarsening", "{}"], COARSENING),
        ("run's results", "train_log/mini/results.json", "scripts/compare_runs.py", ["a=train_log/mini"], {**RESULTS, **NO_JSON}),
        ("run's configuration", "train_log/mini/config.yaml", "scripts/compare_runs.py",
         ["a=train_log/mini", "--page", "page.png"], {name: _written(content) for name, content in CONFIGS.items()}),
    )  # fmt: skip
    for title, file, command, words, edits in tables:
        if any("{}" in word for word in words) and file.endswith(".json") and edits is not NO_JSON:
            edits = {**edits, **NO_JSON}
        words = [word.format(file) for word in words]
        for what, edit in edits.items():
            edit, *expected = edit if isinstance(edit, tuple) else (edit,)
            if title == "image list" and what == "an empty line":
                expected = [EITHER]
            yield Case(
                f"{title}: {what}",
                command,
                words,
                *(expected or [REFUSED]),
                [Path(file).name, "train_log/mini"],
                _edited(file, edit),
            )
        for kind in SPECIAL:
            setup = lambda folder, kind=kind, file=file: _special(folder, file, kind)
            yield Case(f"{title}: {kind}", command, words, REFUSED, [Path(file).name, "train_log/mini"], setup)
    for what, content in VOC.items():
        setup = lambda folder, content=content: (folder / "voc/ant/0.xml").write_bytes(content)
        expected = EITHER if what == "xmin is 30" else REFUSED
        yield Case(f"VOC: {what}", importing, ["Own", "--images", "photos", "--boxes", "voc"], expected, ["0.xml"], setup)
    for what, edits in {"configuration": CONFIGS, "results": RESULTS | NO_JSON}.items():
        file = {"configuration": "config.yaml", "results": "results.json"}[what]
        for name, edit in edits.items():
            edit = _written(edit) if isinstance(edit, bytes) else edit

            def setup(folder: Path, file: str = file, edit: Edit = edit) -> None:
                shutil.copytree(folder / "train_log/mini", folder / "train_log/sweep/species")
                _edited(f"train_log/sweep/species/{file}", edit)(folder)

            if what == "results" and edit in RESULTS.values():
                continue
            words = ["plan", *TINY, "--epochs", "1", "--experiment_name", "sweep"]
            expected = EITHER if what == "results" else REFUSED
            yield Case(f"sweep's {what}: {name}", "scripts/granularity.py", words, expected, [file, "sweep/species"], setup)


def all_cases() -> list[Case]:
    """Return every case there is."""
    return [*metadata_cases(), *text_cases(), *torch_cases(), *picture_cases(), *archive_cases()]


def main() -> None:
    """Run the trial."""
    options = trial_options(__doc__, count={"type": int, "default": 0, "help": "cases, drawn by --seed; 0: all (default)"})
    cases = [case for case in all_cases() if re.search(options.only, case.name)]
    if 0 < options.count < len(cases):
        chosen = random.Random(options.seed).sample(range(len(cases)), options.count)
        cases = [cases[i] for i in sorted(chosen)]
    with tempfile.TemporaryDirectory() as scratch:
        template, folder = Path(scratch, "template"), Path(scratch, "work")
        import_commands(BASE)
        make_workspace(template)
        finish(run_cases(cases, template, folder), options, "wrong files")


if __name__ == "__main__":
    main()
