r"""Tables as Markdown and LaTeX (booktabs: \usepackage{booktabs}).

In: a `Table`. Out: its text, with the notes of cells numbered and listed below it.
"""

import re
from collections.abc import Callable
from itertools import groupby

from wsol.metrics.spread import mean_and_deviation, sample_deviation
from wsol.runs.run_tables import markdown_table
from wsol.sweeps.cells import Cell, Table, TableRow

LATEX_CHARACTERS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": "$<$",
}
LATEX_CHARACTERS |= {character: f"\\{character}" for character in "&%$#_{}"}


def cell_text(cell: Cell) -> str:
    """Return a cell's figure, without its published one, notes and weight.

    >>> cell_text(Cell(values=[67.3, 68.1])), cell_text(Cell(values=[67.0], gains=[-0.25, 0.75])), cell_text(Cell(text="-"))
    ('67.7 ± 0.6', '+0.2 ± 0.7', '-')
    >>> cell_text(Cell(values=[67.0], gains=[-0.03]))
    '+0.0'
    """
    if cell.gains:
        deviation = sample_deviation(cell.gains)
        mean = sum(cell.gains) / len(cell.gains)
        return f"{round(mean, 1) + 0.0:+.1f}" + ("" if deviation is None else f" ± {deviation:.1f}")
    return mean_and_deviation(cell.values) if cell.values else cell.text


def markdown(table: Table) -> str:
    """Return a table as Markdown: its title, itself, its notes."""
    notes = numbered_notes(table)
    names = [" ".join(column).strip() for column in table.columns]
    rows: list[dict[str, object]] = []
    for row in table.rows:
        cells = [_markdown_cell(cell, notes) for cell in row.cells]
        rows.append({"": row.label, **dict(zip(names, cells, strict=True))})
    below = [*table.notes, *(f"[{number}] {note[0].upper()}{note[1:]}." for note, number in notes.items())]
    return "\n\n".join([f"**{table.title}**", markdown_table(rows), *below])


def _markdown_cell(cell: Cell, notes: dict[str, int]) -> str:
    text = cell_text(cell)
    text = f"**{text}**" if cell.bold else text
    text += "" if cell.published is None else f" ({cell.published:.1f})"
    return text + "".join(f" [{notes[note]}]" for note in cell.notes)


def escaped(text: str) -> str:
    r"""Return text for LaTeX.

    >>> escaped("62.1 ± 0.4 %")
    '62.1 $\\pm$ 0.4 \\%'
    """
    return re.sub(r"[\\~^±<&%$#_{}]", lambda match: LATEX_CHARACTERS[match[0]], text)


def latex(table: Table) -> str:
    """Return a table as a LaTeX `table` with booktabs rules between its sections, and its notes below."""
    notes = numbered_notes(table)
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escaped(table.title)}}}"]
    lines += [rf"\begin{{tabular}}{{l{'c' * len(table.columns)}}}", r"\toprule", *_latex_head(table)]
    for _, rows in groupby(table.rows, key=lambda row: row.section):
        lines.append(r"\midrule")
        lines += [_latex_row(row, notes) for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    below = [escaped(note) for note in table.notes]
    below += [rf"$^{{{number}}}$ {escaped(note[0].upper() + note[1:])}." for note, number in notes.items()]
    return "\n".join([*lines, *(rf"\par\footnotesize {note}" for note in below), r"\end{table}"])


def _latex_head(table: Table) -> list[str]:
    """Return the lines with the columns' names, and above them those of groups of columns, if there are any."""
    lines = []
    if any(group for group, _ in table.columns):
        heads, rules, start = [], [], 2
        for group, columns in groupby(table.columns, key=lambda column: column[0]):
            width = len(list(columns))
            heads.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(group)}}}")
            rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
            start += width
        lines = [" & ".join(["", *heads]) + r" \\", "".join(rules)]
    return [*lines, " & ".join(["", *(escaped(name) for _, name in table.columns)]) + r" \\"]


def _latex_row(row: TableRow, notes: dict[str, int]) -> str:
    cells = []
    for cell in row.cells:
        text = escaped("--" if cell_text(cell) == "-" else cell_text(cell))
        text = rf"\textbf{{{text}}}" if cell.bold else text
        text += "" if cell.published is None else f" ({cell.published:.1f})"
        marks = ",".join(str(notes[note]) for note in cell.notes)
        cells.append(text + (f"$^{{{marks}}}$" if marks else ""))
    return " & ".join([escaped(row.label), *cells]) + r" \\"


def numbered_notes(table: Table) -> dict[str, int]:
    """Return the notes of a table's cells with their numbers, from 1, in reading order."""
    found = dict.fromkeys(note for row in table.rows for cell in row.cells for note in cell.notes)
    return {note: number for number, note in enumerate(found, 1)}


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "latex": latex}
