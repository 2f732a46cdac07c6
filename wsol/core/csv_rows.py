"""CSV as this project writes it: a header, then rows, each on one line, so that every error can name its line.

In: UTF-8 files, with comment lines of `#` before the header. Out: fields as text; and the text of rows.
"""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from itertools import takewhile

from wsol.core.errors import MetadataError
from wsol.core.files import read_lines

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    r"""Return rows as CSV; a field with a comma, a quote or a line end is quoted, None is an empty field.

    >>> csv_text([("class", "k"), ("Robin, European", 1)])
    'class,k\n"Robin, European",1\n'
    """
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def split_line(where: str, line: str, delimiter: str = ",") -> list[str]:
    """Return the fields of one line; `where` is its file:line.

    Lines are split one by one: a reader of the whole file would silently join the lines of an open quote.

    Raises:
        MetadataError: a quote is left open, or stands next to other text.
    """
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise MetadataError(
            f"{where}: {error}; expected {DELIMITERS.get(delimiter, delimiter)}-separated values, each row on one line, "
            "with quotes only around whole fields"
        ) from None


def read_notice(path: str | os.PathLike) -> list[str]:
    """Return the comment lines before a CSV file's header, without their `#`."""
    return [line[1:].strip() for line in takewhile(lambda line: line.startswith("#"), read_lines(path))]


def read_rows(
    path: str | os.PathLike, header: Sequence[str] | None = None, optional: Sequence[str] = ()
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return (header, (line number, fields) of every row) of a CSV file. Comments before the header and blank lines at the
    end are skipped.

    Args:
        path: the file.
        header: the column names that the file must have; default: any.
        optional: columns that may follow those of `header`, either all of them or none.

    Raises:
        MetadataError: a different header, or a row that has the wrong number of fields or is not on one line.
    """
    lines = read_lines(path)
    while lines and not lines[-1].strip():
        lines.pop()
    comments = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    rows = [(number, split_line(f"{path}:{number}", line)) for number, line in enumerate(lines[comments:], comments + 1)]
    if not rows or (header and rows[0][1] not in ([*header], [*header, *optional])):
        found = repr(",".join(rows[0][1])) if rows else "nothing"
        raise MetadataError(f"{path}:{comments + 1}: {found}; expected the header {','.join(header or ['of level names'])}")
    names = rows[0][1]
    for number, row in rows[1:]:
        if len(row) != len(names):
            raise MetadataError(f"{path}:{number}: {','.join(row)!r}; expected {len(names)} fields: {','.join(names)}")
    return names, rows[1:]
