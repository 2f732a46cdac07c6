"""A report: one HTML page of a sweep that needs nothing else, neither files nor a network.

In: a folder of runs, with protocol.json if it is a sweep. Out: the page's text; page/ has its template, style and script.
"""

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.figure import Figure

from wsol.core.errors import InputError
from wsol.plots.center_line import center_value
from wsol.plots.report_examples import SIDE, Example, all_examples
from wsol.plots.report_tables import (
    PaperTable,
    Table,
    choices_table,
    opened_table,
    options_tables,
    paper_tables,
    runs_table,
    time_text,
    unfinished_table,
)
from wsol.plots.run_examples import ANY_CONTOUR
from wsol.plots.shown_runs import ShownRuns, shown_runs
from wsol.plots.sweep_figures import OF_ONE, Drawing, datasets_figure, levels_figure
from wsol.plots.templates import page_environment
from wsol.sweeps.collection import RunEntry
from wsol.sweeps.protocol import Protocol, read_protocol

MOST_BYTES = 20_000_000  # of a page
# Tried in turn until a page is small enough: the pictures' longer side in pixels, and of how many images one is kept.
SIZES = ((SIDE, 1), (160, 1), (112, 1), (112, 2), (112, 4), (112, 8), (80, 16))
PIXELS_PER_INCH = 140  # of figures on a wide screen
SECTIONS = {"protocol": "Protocol", "results": "Results", "figures": "Figures", "examples": "Example maps"}
SECTIONS |= {"options": "Options", "failed": "Runs without results"}


@dataclass(frozen=True)
class Picture:
    """A figure of a report: its title, the picture as a data address, and its width in pixels."""

    title: str
    source: str
    width: int


@dataclass(frozen=True)
class Page:
    """All that a report shows; tables without rows and empty lists are left out of the page, or said to be empty."""

    title: str
    facts: Sequence[str]
    protocol: Sequence[str]
    marks: Sequence[str]
    choices: Table | None
    opened: Table | None
    tables: Sequence[PaperTable]
    runs: Table
    figures: Sequence[Picture]
    figure_notes: Sequence[str]
    examples: Sequence[Example]
    examples_said: str
    differing: Table
    common: Table
    unfinished: Table

    @property
    def sections(self) -> list[tuple[str, str]]:
        """The identifiers and names of the sections that the page has."""
        left_out = {"figures"} if not (self.figures or self.figure_notes) else set()
        left_out |= set() if self.examples else {"examples"}
        return [(name, title) for name, title in SECTIONS.items() if name not in left_out]


def picture(title: str, figure: Figure) -> Picture:
    """Return a figure as a picture; the same figure gives the same bytes."""
    stream = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": title, "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    source = "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()
    return Picture(title, source, round(figure.get_figwidth() * PIXELS_PER_INCH))


def _levels_drawing(shown: ShownRuns) -> Drawing:
    return levels_figure(shown, center_value(shown))


def draw_figures(by_dataset: Mapping[str, ShownRuns]) -> tuple[list[Picture], list[str]]:
    """Return the figures of scripts/plot.py that the runs allow, and why the others are not drawn."""
    wanted: dict[str, Callable[[], Drawing]] = {}
    for name, shown in by_dataset.items():
        for number, draw in {"3": _levels_drawing, **OF_ONE}.items():
            wanted[f"Fig. {number}, {name}"] = partial(draw, shown)
    if len(by_dataset) > 1:
        centers = {name: center_value(shown) for name, shown in by_dataset.items()}
        wanted["Fig. A1"] = partial(datasets_figure, by_dataset, centers)
    pictures, problems = list[Picture](), list[str]()
    for title, draw_it in wanted.items():
        try:
            pictures.append(picture(title, draw_it().figure()))
        except InputError as error:
            dataset = title.partition(", ")[2]  # which the message names too
            problems.append(f"{title}: {error.on_command_line().removeprefix(f'{dataset}: ')}")
    return pictures, problems


def _facts(entries: Sequence[RunEntry], unfinished: Table) -> list[str]:
    """Return what the head of the page says of the runs."""
    runs = {entry.folder: entry for entry in entries}.values()
    records = [entry.record for entry in runs if entry.record]
    minutes = sum(record["wall_seconds"] for record in records) / 60
    states = [row[1].text for row in unfinished.rows]
    facts = [f"{len(runs)} runs finished", *(f"{states.count(state)} {state}" for state in dict.fromkeys(states))]
    facts.append(", ".join(sorted({str(entry.config["dataset_name"]) for entry in runs})))
    facts.append(", ".join(sorted({str(entry.config["architecture"]) for entry in runs})))
    if records:
        facts.append(f"{minutes / 60:.1f} h of runs" if minutes >= 60 else f"{minutes:.1f} min of runs")
        facts.append(", ".join(sorted({str(record.get("device")) for record in records})))
    return facts


def _protocol_lines(protocol: Protocol | None, entries: Sequence[RunEntry]) -> list[str]:
    """Return what was reported, on which split, and whether test has been opened."""
    if protocol is None:
        tested = sum("test" in entry.results.splits for entry in entries)
        return [
            "There is no protocol.json: no record of what was chosen, from what, or when test was opened. "
            f"{tested} of {len(entries)} runs have results of test."
        ]
    content = protocol.content
    name, created = content["name"], time_text(content.get("created", "at an unknown time"))
    counts = f"{len(content['choices'])} choices, made on val (train-fullsup) alone; {len(content['reported'])} runs are"
    lines = [f"Sweep {name}, created {created}. {counts} reported."]
    test = content["test"]
    if not test:
        lines.append("Test has not been opened.")
    else:
        opened = [run["opened"] for run in protocol.test_runs.values() if run["opened"]]
        span = f"from {time_text(min(opened))} to {time_text(max(opened))}" if opened else "but for no run yet"
        seeds = ", ".join(map(str, test["seeds"]))
        lines.append(f"Test was opened for {len(opened)} of {len(protocol.test_runs)} runs, {span}, with the seeds {seeds}.")
    for dataset, alike in protocol.levels_alike.items():
        lines += [
            f"{dataset}: level {one} has the classes of {other}: trained once, shown twice." for one, other in alike.items()
        ]
    return lines


def _shown_split(entries: Sequence[RunEntry]) -> str:
    return "test" if any("test" in entry.results.splits for entry in entries) else "val"


def build_page(folder: Path, entries: Sequence[RunEntry], examples: int, seed: int, device: torch.device) -> Page:
    """Return the page of the runs below a folder; `entries` are those that have finished.

    `examples`: images for each method and level; 0: no maps. `seed`: draws them.

    Raises:
        InputError: no entries, or a damaged file.
    """
    if not entries:
        raise InputError(f"{folder}: no finished run; expected a folder with runs of main.py")
    protocol = read_protocol(folder)
    unfinished = unfinished_table(folder)
    by_dataset: dict[str, ShownRuns] = {}
    notes = []
    try:
        by_dataset = shown_runs(entries)
    except InputError as error:  # only choosing runs have finished, say
        notes = [error.on_command_line()]
    figures, problems = draw_figures(by_dataset)
    found, missing = list[Example](), list[str]()
    for shown in by_dataset.values() if examples else ():
        some, without = all_examples(shown, examples, seed, device)
        found, missing = [*found, *some], [*missing, *without]
    differing, common = options_tables(entries)
    split = _shown_split(entries)
    said = f"Images of {split}, drawn with seed {seed}; each method and level from its run with the lowest seed."
    if any(entry.config.get("multi_contour_eval") for entry in entries):
        said = f"{said} {ANY_CONTOUR}"
    return Page(
        title=f"Report of {folder.resolve().name}",
        facts=_facts(entries, unfinished),
        protocol=_protocol_lines(protocol, entries),
        marks=sorted({f"{entry.name}: {mark}" for entry in entries for mark in entry.marks}),
        choices=choices_table(protocol) if protocol else None,
        opened=opened_table(protocol) if protocol else None,
        tables=paper_tables(entries, split),
        runs=runs_table(entries),
        figures=figures,
        figure_notes=[*notes, *problems],
        examples=found,
        examples_said=" ".join([said, *missing]),
        differing=differing,
        common=common,
        unfinished=unfinished,
    )


def render(page: Page) -> str:
    """Return a page as HTML; whatever it shows is escaped."""
    return page_environment().get_template("report.html").render(page=page)


def _sizes(page: Page) -> Iterator[tuple[Page, str]]:
    """Yield a page with its pictures smaller and fewer, step by step, and what was done to them."""
    for side, every in SIZES:
        kept = [one.smaller(side) for one in page.examples if one.number % every == 0]
        fewer = f", and one of {every} images is kept" if every > 1 else ""
        said = f"To keep the page small, pictures have at most {side} pixels{fewer}." if (side, every) != SIZES[0] else ""
        yield replace(page, examples=kept, examples_said=f"{page.examples_said} {said}".strip()), said
        if not page.examples:
            return


def rendered_within(page: Page, most_bytes: int = MOST_BYTES) -> tuple[str, str]:
    """Return (a page as HTML of less than `most_bytes`, what was done to its pictures for that).

    Raises:
        InputError: it is too large without pictures.
    """
    for smaller, said in _sizes(page):
        text = render(smaller)
        if len(text.encode()) < most_bytes:
            return text, said
    raise InputError(f"a page of {len(text.encode())} bytes; expected fewer runs, for less than {most_bytes}")
