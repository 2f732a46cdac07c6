"""Tables as people have them: CSV with any usual delimiter, encoding and column names.

In: a file from a spreadsheet or labelling tool. Out: its rows, and which columns hold the image, the label and the box.
"""

import codecs
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wsol.core.csv_rows import DELIMITERS, split_line
from wsol.core.errors import InputError, did_you_mean, shortened
from wsol.core.files import check_input
from wsol.data.hierarchy import some_names

TABLES = (".csv", ".tsv")
BOMS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# The usual names of columns, in lower case, with _ for spaces and hyphens. The first wins over the others.
ALIASES = {
    "image": (
        *("image", "filename", "file_name", "file", "path", "filepath", "file_path", "image_path", "imagepath"),
        *("image_file", "image_filename", "image_name", "imagename", "img", "photo", "picture"),
    ),
    "label": (
        *("label", "class", "species", "category", "class_name", "classname", "label_name", "category_name"),
        *("scientific_name", "taxon", "taxon_name", "breed"),
    ),
}
CORNERS = ("x0", "y0", "x1", "y1")
EXTENT = ("x", "y", "width", "height")
CORNER_NAMES = (
    CORNERS,
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)
EXTENT_NAMES = tuple(
    (*corner, *sides)
    for corner in (("x", "y"), ("xmin", "ymin"), ("x_min", "y_min"), ("left", "top"), ("bbox_x", "bbox_y"))
    for sides in (("width", "height"), ("w", "h"), ("bbox_width", "bbox_height"), ("bbox_w", "bbox_h"))
)
SIZE_NAMES = (("image_width", "image_height"), ("img_width", "img_height"), ("width", "height"))
ROLES = ("image", "label", *CORNERS, *EXTENT, *SIZE_NAMES[0])


@dataclass
class TableOptions:
    """How to read the tables of a command: their encoding (None: UTF-8, or that of the byte order mark), and role to the
    column names that --columns gives: several if the tables use different names."""

    encoding: str | None = None
    columns: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass
class Table:
    """A table: the file:line of its header, the header, (file:line, fields) of every row, and the delimiter."""

    where: str
    header: list[str]
    rows: list[tuple[str, list[str]]]
    delimiter: str

    def column(self, name: str) -> int:
        """Return the index of a column by its name; case is ignored if no column has the exact name."""
        same = _columns_named(self.header, name)
        if len(same) != 1:
            raise InputError(
                f"{self.where}: no column {name!r}; expected one among {some_names(self.header)}"
                + did_you_mean(name, self.header)
            )
        return same[0]


def check_encoding(name: str) -> None:
    """Raise InputError for an encoding that Python does not know."""
    try:
        b"a".decode(name)
    except UnicodeError:  # known, but cannot decode this single byte
        pass
    except (LookupError, ValueError):
        raise InputError(f"--encoding {name}: unknown; expected one such as utf-8, latin-1, cp1252, utf-16") from None


def parse_columns(words: Iterable[str]) -> dict[str, list[str]]:
    """Return role to column names from words such as image=filename; a role may have several names, for different tables.

    >>> parse_columns(["image=photo", "image=Bild", "label=species"])
    {'image': ['photo', 'Bild'], 'label': ['species']}
    """
    columns: dict[str, list[str]] = {}
    for word in words:
        role, _, name = word.partition("=")
        if role not in ROLES or not name.strip():
            raise InputError(f"--columns {word}: expected ROLE=NAME with a role of {', '.join(ROLES)}")
        columns.setdefault(role, []).append(name.strip())
    return columns


def read_table_text(path: Path, encoding: str | None = None) -> str:
    """Return the text of a table, decoded by its byte order mark, else by `encoding`, else as UTF-8."""
    try:
        data = check_input(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: not a readable file ({error.strerror})") from None
    encoding = next((name for mark, name in BOMS.items() if data.startswith(mark)), encoding) or "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}:{data.count(10, 0, error.start) + 1}: not {encoding.upper()} text ({error.reason}); expected "
            "UTF-8, or its encoding: --encoding cp1252 (Excel on Windows), latin-1, utf-16"
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: not {encoding} text ({error})") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(
            f"{path}:{line}: a NUL character; expected text (--encoding utf-16-le if it is UTF-16 without a mark)"
        )
    return text


def is_misread(path: Path, encoding: str | None) -> bool:
    """Return whether a table is UTF-8 with letters beyond ASCII and no mark, so that another `encoding` misreads it."""
    if encoding is None or codecs.lookup(encoding).name.startswith("utf"):
        return False
    try:
        data = check_input(path).read_bytes()
        data.decode()
    except (OSError, UnicodeDecodeError):  # the first is reported when the table is read
        return False
    return not data.isascii() and not any(data.startswith(mark) for mark in BOMS)


def _lines(text: str) -> list[tuple[int, str]]:
    """Return the lines of a text with their numbers, without lines that are blank or have only empty fields."""
    text = text.replace("\r\n", "\n")
    lines = text.split("\n" if "\n" in text else "\r")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip(" ,;\t")]


def _fields(path: Path, number: int, line: str, delimiter: str) -> list[str]:
    return [each.strip() for each in split_line(f"{path}:{number}", line, delimiter)]


def _delimiter(path: Path, lines: Sequence[tuple[int, str]], known: Callable[[list[str]], bool]) -> str:
    """Return the delimiter of a table: the one that gives a known header, and every line as many fields as the header."""
    first, header_line = lines[0]
    headers = {}
    for delimiter in DELIMITERS:
        try:
            headers[delimiter] = _fields(path, first, header_line, delimiter)
        except InputError:  # quotes that belong to fields of another delimiter
            continue
    several = [delimiter for delimiter, header in headers.items() if len(header) > 1]
    found = [delimiter for delimiter in several if known(headers[delimiter])] or several

    def regular(delimiter: str) -> bool:
        try:
            return all(len(_fields(path, number, line, delimiter)) == len(headers[delimiter]) for number, line in lines[1:])
        except InputError:
            return False

    if len(found) > 1:
        found = [delimiter for delimiter in found if regular(delimiter)] or found
    if len(found) > 1:
        both = " and ".join(DELIMITERS[each] for each in found)
        raise InputError(
            f"{path}:{first}: {shortened(repr(header_line))}: {both} may separate the columns; put fields that contain "
            "one of them in quotes"
        )
    return found[0] if found else ","


def read_fields(
    path: Path, encoding: str | None = None, known: Callable[[list[str]], bool] = bool
) -> Iterator[tuple[str, list[str], str]]:
    """Yield (file:line, fields, delimiter) of every line of a table that is not blank; `known` is a test for a header that
    may be the right one.

    A first line such as `sep=;`, which spreadsheets write, gives the delimiter.
    """
    lines = _lines(read_table_text(path, encoding))
    said = re.fullmatch(r'"?sep=(.)"?', lines[0][1]) if lines else None
    if said:
        lines = lines[1:]
    delimiter = said[1] if said else _delimiter(path, lines, known) if lines else ","
    for number, line in lines:
        if any(fields := _fields(path, number, line, delimiter)):
            yield f"{path}:{number}", fields, delimiter


def open_table(path: Path, encoding: str | None = None, known: Callable[[list[str]], bool] = bool) -> Table:
    """Return a table whose first row is a header of unique names; every row must have as many fields.

    Raises:
        InputError: duplicate columns, or a row with more or fewer fields.
    """
    lines = read_fields(path, encoding, known)
    top, header, delimiter = next(lines, (f"{path}:1", [], ","))
    if len(set(header)) < len(header):
        raise InputError(f"{top}: {shortened(repr(','.join(header)))}; expected unique columns")
    rows = []
    for where, row, _ in lines:
        if len(row) != len(header):
            message = f"{where}: {shortened(repr(delimiter.join(row)))}; expected {len(header)} fields"
            other = [DELIMITERS[each] for each in DELIMITERS if each != delimiter and each in delimiter.join(row)]
            if other and len(row) == 1:
                message += (
                    f"; the header is {DELIMITERS.get(delimiter, delimiter)}-separated, this line {other[0]}-separated?"
                )
            raise InputError(message)
        rows.append((where, row))
    return Table(top, header, rows, delimiter)


def read_table(path: Path, needed: Collection[str], encoding: str | None = None) -> list[tuple[str, dict[str, str]]]:
    """Return (file:line, column to text) for every row of a table; raise InputError if a needed column is missing."""
    table = open_table(path, encoding, set(needed).issubset)
    if missing := [name for name in needed if name not in table.header]:
        raise InputError(f"{table.where}: no column {missing[0]!r}; expected a header with {', '.join(needed)}")
    return [(where, dict(zip(table.header, row, strict=True))) for where, row in table.rows]


def _usual(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def _columns_named(header: Sequence[str], wanted: str) -> list[int]:
    """Return the indices of the columns with a name; case is ignored if none has the exact name."""
    return [i for i, name in enumerate(header) if name == wanted] or [
        i for i, name in enumerate(header) if name.casefold() == wanted.casefold()
    ]


def _all_names(header: Sequence[str]) -> str:
    return shortened(", ".join(map(repr, header)), 300)


def usual_names(header: Sequence[str], options: TableOptions) -> list[str]:
    """Return the names of a header in their usual spelling; only the columns that --columns gives for a role have its
    name."""
    names = [_usual(name) for name in header]
    for role, wanted in options.columns.items():
        same = [i for name in wanted for i in _columns_named(header, name)]
        if same:  # more than one is reported by the function that needs the column
            names = ["" if name == role else name for name in names]
            for i in same:
                names[i] = role
    return names


def check_columns(tables: Sequence[Table], options: TableOptions) -> None:
    """Raise InputError if --columns names a column that none of the tables has."""
    if options.columns and not tables:
        raise InputError("--columns names columns of tables; expected --labels, or --boxes with a .csv or .tsv")
    for role, name in ((role, name) for role, names in options.columns.items() for name in names):
        if not any(len(_columns_named(table.header, name)) == 1 for table in tables):
            others = "".join(f"; nor {each.where}, among {_all_names(each.header)}" for each in tables[1:])
            near = did_you_mean(name, [column for table in tables for column in table.header])
            raise InputError(
                f"{tables[0].where}: no column {shortened(repr(name))} (--columns {role}=NAME), among "
                f"{_all_names(tables[0].header)}{others}{near}"
            )


def find_role(table: Table, role: str, options: TableOptions) -> int | None:
    """Return the index of the column that holds the image or the label, or None.

    Raises:
        InputError: several columns are possible, or --columns names one that does not exist.
    """
    names = usual_names(table.header, options)
    if names.count(role) == 1:
        return names.index(role)
    found = [i for i, name in enumerate(names) if name in (ALIASES[role] if role not in names else (role,))]
    if role == "label" and role in options.columns and not found:  # only one table has labels
        wanted = " or ".join(map(repr, options.columns[role]))
        raise InputError(f"{table.where}: no column {wanted} (--columns), among {some_names(table.header)}")
    if len(found) > 1:
        both = " or ".join(repr(table.header[i]) for i in found)
        raise InputError(f"{table.where}: {both} may be the {role}; choose one with --columns {role}=NAME")
    return found[0] if found else None


def one_column(table: Table) -> str:
    """Return the message for a table that should have several columns, with the delimiter it may use."""
    text = table.header[0] if table.header else ""
    other = next((each for each in "|:" if each in text), " " if " " in text else "")
    looks = f" (these look separated by {other!r})" if other else ""
    return (
        f"{table.where}: one column, {shortened(repr(text))}; expected columns separated by comma, semicolon or tab{looks}"
    )


def need_image(table: Table, options: TableOptions) -> int:
    """Return the index of the column that names the image; raise InputError, with a possible reason, if there is none."""
    found = find_role(table, "image", options)
    if found is not None:
        return found
    if len(table.header) <= 1:
        raise InputError(f"{one_column(table)}, one of them named image")
    raise InputError(
        f"{table.where}: no column for the image among {_all_names(table.header)}; expected a header with one "
        f"named {', '.join(ALIASES['image'][:6])}, ..., or --columns image=NAME"
    )


def has_image(options: TableOptions) -> Callable[[list[str]], bool]:
    """Return a test for headers with a column for the image."""
    return lambda header: not {"image", *ALIASES["image"]}.isdisjoint(usual_names(header, options))


def find_box_columns(table: Table, options: TableOptions) -> tuple[list[int], bool, list[int]]:
    """Return the indices of the four columns of a box, whether they are x, y, width, height (else x0, y0, x1, y1), and the
    indices of the width and height of the image, if there are any.

    Raises:
        InputError: no four columns of a box, or several candidates.
    """
    names = usual_names(table.header, options)
    asked = options.columns.keys() & {*CORNERS, *EXTENT} & set(names)
    for kind, extent in ((CORNER_NAMES, False), (EXTENT_NAMES, True)):
        found = [each for each in kind if asked.issubset(each) and all(names.count(name) == 1 for name in each)]
        if len(found) > 1:
            both = " or ".join(",".join(each) for each in found)
            raise InputError(f"{table.where}: {both} may be the box; choose one with --columns x0=NAME y0=NAME ...")
        if found:
            sizes = [each for each in SIZE_NAMES if set(each) <= set(names) - {*found[0]}]
            return (
                [names.index(name) for name in found[0]],
                extent,
                [names.index(name) for name in (sizes[0] if sizes else ())],
            )
    raise InputError(
        f"{table.where}: no columns of a box among {_all_names(table.header)}; expected image,x0,y0,x1,y1, or "
        "xmin,ymin,xmax,ymax, or x,y,width,height, or --columns x0=NAME y0=NAME x1=NAME y1=NAME"
    )
