"""Finished runs and their figures as tidy rows: what tables, plots and reports are made from.

In: folders with runs anywhere below them. Out: a `RunEntry` for each finished run, with its place in its sweep; and rows,
one for each figure. Runs that are not finished or cannot be read are left out with a warning.
"""

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from wsol.core.errors import InputError
from wsol.core.flat_yaml import read_dumped
from wsol.data.level_set import SEPARATOR
from wsol.runs.results import FROM_CONFIG, Results, Row, read_run
from wsol.runs.resume import checkpoint_path
from wsol.runs.run_folder import CONFIG, LEVELS, PREVIOUS, RESULTS
from wsol.runs.run_record import read_record
from wsol.sweeps.protocol import Protocol, check_recorded, read_protocol
from wsol.sweeps.states import NOT_COMPARED

# Options that change how a run is done or what it keeps, not what it gives.
NOT_SHOWN = frozenset((*NOT_COMPARED, "eval_test", "save_scoremaps", "scoremap_format"))
# Options with a column of their own in tidy rows.
COLUMNS = frozenset((*FROM_CONFIG.values(), "dataset_name", "label_level"))
PSEUDO_MARK = "pseudo boxes of val, none of them true, made its choices; its figures of val are against them"
ABOUT = tuple(name for name in Row.__annotations__ if name in (*FROM_CONFIG, "dataset", "level"))


@dataclass(frozen=True)
class RunEntry:
    """A finished run, and its place among the runs that it was collected with."""

    folder: Path
    sweep: Path | None  # the folder with protocol.json that it belongs to; None: a single run
    config: Mapping[str, Any]  # its options
    results: Results
    record: Mapping[str, Any] | None  # run.json; None for runs of older versions
    varied: Mapping[str, object]  # the options in which the runs of its sweep, or the single runs, differ
    role: str  # "reported" or "choosing"; "" outside a sweep
    marks: tuple[str, ...]  # what a table has to say about its test results, and PSEUDO_MARK about val's
    level: str  # the level to show; of CAM-Agg the one that scores were summed to
    same_as: str | None  # the level that was trained in its place, whose classes are the same partition
    fullsup_images: int | None  # images of train-fullsup with which it was chosen or trained
    fullsup_boxes: int | None = None  # and their boxes and masks, where the sweep recorded them
    fullsup_masks: int | None = None
    chosen: Mapping[str, object] = field(default_factory=dict)  # the options that the sweep chose for it on val
    whole: Path | None = None  # the folder of the run of several levels, if this is one of them

    @property
    def name(self) -> str:
        """The run's name: that of its folder."""
        return self.folder.name

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that it was evaluated with."""
        return checkpoint_path(self.whole or self.folder, str(self.config["eval_checkpoint_type"]))

    @property
    def trained_together(self) -> bool:
        """Whether it was trained at several levels at once."""
        return SEPARATOR in str(self.config.get("label_level"))

    @property
    def is_aggregated(self) -> bool:
        """Whether its maps are CAM-Agg's."""
        return bool(self.config.get("cam_agg_level"))


def collect(folders: Iterable[str | os.PathLike]) -> list[RunEntry]:
    """Return all finished runs below the folders, sorted by folder; a run that stands for a second level comes twice.

    Raises:
        InputError: no such folder, a damaged protocol.json, or results of test that it has no record of.
    """
    protocols: dict[Path, Protocol | None] = {}
    entries = []
    for folder in sorted({Path(os.path.normpath(run)) for above in folders for run in run_folders(Path(above))}):
        if folder.parent not in protocols:
            protocols[folder.parent] = read_protocol(folder.parent)
        if entry := _read_entry(folder, protocols[folder.parent]):
            entries.append(entry)
    return [shown for entry in _with_varied(entries) for shown in _levels_of(entry, protocols[entry.folder.parent])]


def tidy_rows(entries: Iterable[RunEntry]) -> list[dict[str, object]]:
    """Return one dict for each figure of each run, all with the same columns.

    They are the columns of `Row`, with the varied options before `split`; then the run's folder, role, mark, same_as,
    full supervision, time, memory, device and version of torch. An unknown value is None.
    """
    entries = list(entries)
    names = list(dict.fromkeys(name for entry in entries for name in entry.varied if name not in COLUMNS))
    rows = [_tidy(entry, row, names) for entry in entries for row in entry.results.rows()]
    for name in names:
        if len({type(row[name]) for row in rows} - {type(None)}) > 1:  # a column of a file has one type
            for row in rows:
                row[name] = None if row[name] is None else str(row[name])
    return rows


def options_that_differ(configs: Sequence[Mapping[str, Any]], ignored: Iterable[str] = NOT_SHOWN) -> list[str]:
    """Return the options in which some of the configurations differ.

    An option that a configuration lacks, since an older version wrote it, does not count: the run had its default.

    >>> options_that_differ([{"lr": 0.1, "seed": 0, "workers": 2}, {"lr": 0.1, "seed": 1, "logger": "none"}])
    ['seed']
    """
    values: dict[str, list[Any]] = {}
    for config in configs:
        for name, value in config.items():
            values.setdefault(name, []).append(value)
    return [name for name, found in values.items() if name not in set(ignored) and any(one != found[0] for one in found)]


def run_folders(above: Path) -> Iterator[Path]:
    """Yield every run's folder at or below a folder, without those that are set aside."""
    if not above.is_dir():
        raise InputError(f"{above}: no such folder; expected one with runs below it")
    for path, folders, files in os.walk(above):
        if CONFIG in files:
            folders.clear()  # a run's folder holds no other run, but perhaps a hundred thousand maps
            yield Path(path)
        folders[:] = [name for name in folders if not (name.startswith(".") and name.endswith((PREVIOUS, ".tmp")))]


def _read_entry(folder: Path, protocol: Protocol | None) -> RunEntry | None:
    """Return a run's entry, `varied` still empty; None, with a warning, if the run is not finished or cannot be read."""
    if not (folder / RESULTS).is_file():
        warnings.warn(f"{folder}: not finished (no {RESULTS}), left out", stacklevel=3)
        return None
    try:
        config, record = read_dumped(folder / CONFIG), read_record(folder)
        results = read_run(folder, config)
        rows, supervised = results.rows(), results.fullsup_images
    except InputError as error:
        warnings.warn(f"{folder}: left out: {error}", stacklevel=3)
        return None
    if protocol or config.get("eval_test") is False:  # only a sweep adds test to such a run, and records it
        check_recorded(folder.parent, [folder.name], protocol)
    level = config.get("cam_agg_level") or next((row.level for row in rows if row.level), "")
    choice = _choice_of(folder.name, protocol)
    marks = (*(protocol.marks(folder.name) if protocol else ()), *((PSEUDO_MARK,) if results.has_pseudo_boxes else ()))
    counts = [choice.get("fullsup_images"), *(row.images for row in rows if row.split == "val")]
    if supervised:
        counts.append(sum(supervised.values()))  # trained on them, those held out included
    return RunEntry(
        folder=folder,
        sweep=folder.parent if protocol else None,
        config=config,
        results=results,
        record=record,
        varied={},
        role=protocol.role(folder.name) if protocol else "",
        marks=marks,
        level=level,
        same_as=None,
        fullsup_images=max((count for count in counts if count is not None), default=None),
        fullsup_boxes=choice.get("fullsup_boxes"),
        fullsup_masks=choice.get("fullsup_masks"),
        chosen=choice.get("options", {}),
    )


def _choice_of(name: str, protocol: Protocol | None) -> Mapping[str, Any]:
    """Return what was chosen for a reported run, or from a choosing run among others; empty if there is no such choice."""
    if not protocol:
        return {}
    choices = protocol.content["choices"]
    if name in protocol.content["reported"]:
        return choices.get(protocol.content["reported"][name], {})
    return next((choice for choice in choices.values() if name in choice["candidates"]), {})


def _with_varied(entries: Sequence[RunEntry]) -> Iterator[RunEntry]:
    """Yield the entries with the options in which the runs of the same sweep, or the single runs, differ."""
    groups: dict[Path | None, list[Mapping[str, Any]]] = {}
    for entry in entries:
        groups.setdefault(entry.sweep, []).append(entry.config)
    names = {sweep: options_that_differ(configs) for sweep, configs in groups.items()}
    for entry in entries:
        yield replace(entry, varied={name: entry.config.get(name) for name in names[entry.sweep]})


def _levels_of(entry: RunEntry, protocol: Protocol | None) -> Iterator[RunEntry]:
    """Yield an entry, and once more for every level that it was trained in the place of."""
    yield entry
    alike = protocol.levels_alike.get(str(entry.config.get("dataset_name")), {}) if protocol else {}
    for level, trained in alike.items():
        if trained == entry.level:
            yield replace(entry, level=level, same_as=trained)


def counted(entries: Iterable[RunEntry]) -> list[RunEntry]:
    """Return the runs that tables and figures show: reported ones and single ones, those of several levels at each level."""
    return [one for entry in entries if entry.role == "reported" or entry.sweep is None for one in at_each_level(entry)]


def at_each_level(entry: RunEntry) -> list[RunEntry]:
    """Return a run of several levels at once as one entry for each level, from what it wrote below `levels/`; any other run
    as it is.

    Raises:
        InputError: a level's files cannot be read.
    """
    below = entry.folder / LEVELS
    if not entry.trained_together or not below.is_dir():
        return [entry]
    found = []
    for folder in (below / level for level in str(entry.config["label_level"]).split(SEPARATOR)):
        config = read_dumped(folder / CONFIG)
        results = read_run(folder, config)
        found.append(replace(entry, folder=folder, config=config, results=results, level=folder.name, whole=entry.folder))
    return found


def _tidy(entry: RunEntry, row: Row, names: Sequence[str]) -> dict[str, object]:
    figures = asdict(row) | {"level": entry.level}
    about = {name: figures.pop(name) for name in ABOUT}
    varied = {name: _plain(entry.config.get(name)) for name in names}
    record = entry.record or {}
    return {
        **about,
        **varied,
        **figures,
        "run": str(entry.folder),
        "role": entry.role,
        "mark": "; ".join(entry.marks),
        "same_as": entry.same_as,
        "fullsup_images": entry.fullsup_images,
        "fullsup_boxes": entry.fullsup_boxes,
        "fullsup_masks": entry.fullsup_masks,
        "wall_seconds": record.get("wall_seconds"),
        "peak_memory_bytes": record.get("peak_memory_bytes"),
        "device": record.get("device"),
        "torch": (record.get("versions") or {}).get("torch"),
    }


def _plain(value: object) -> object:
    return " ".join(map(str, value)) if isinstance(value, list) else value
