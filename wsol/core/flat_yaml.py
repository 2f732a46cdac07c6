"""YAML of one level, lines of `option: value`, with the values as they are written: each option interprets its own.

Read from the events of the parser, so that a file cannot have objects built: no types guessed by YAML (dates, `no`, 010),
no anchors, aliases or tags, no nesting.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import yaml

from wsol.core.errors import InputError, shortened
from wsol.core.files import check_input, read_text

MOST_BYTES = 1 << 16
NULL = ("", "~", "null", "Null", "NULL")
Value = str | None | list[str | None]


class _RefusedError(Exception):
    """A line number (from 1) and what is wrong on that line."""


def _refuse(event: yaml.Event, problem: str) -> NoReturn:
    start = event.start_mark  # every event read from text has one
    raise _RefusedError(start.line + 1 if start else 1, problem)


def _scalar(event: yaml.Event, what: str) -> str | None:
    """Return a value's text; None for null that is not quoted."""
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
        _refuse(event, "an anchor, alias or tag; expected plain values")
    if not isinstance(event, yaml.ScalarEvent):
        _refuse(event, f"a nested {what}; expected text or a number")
    return None if event.style is None and event.value in NULL else event.value


def _entries(events: Iterator[yaml.Event]) -> Iterator[tuple[yaml.Event, str | None, Value]]:
    """Yield (event, key, value) for each line of a document."""
    next(events)  # the stream's start
    start = next(events)
    first = start if isinstance(start, yaml.StreamEndEvent) else next(events)
    if not isinstance(first, yaml.MappingStartEvent):
        _refuse(first, "expected lines of 'option: value'")
    if first.anchor or first.tag:
        _refuse(first, "an anchor, alias or tag; expected plain values")
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = _scalar(event, "key")
        value = next(events)
        if isinstance(value, yaml.SequenceStartEvent) and not (value.anchor or value.tag):
            items = []
            while not isinstance(item := next(events), yaml.SequenceEndEvent):
                items.append(_scalar(item, "value"))
            yield event, key, items
        else:
            yield event, key, _scalar(value, "value")
    next(events)  # the document's end
    if not isinstance(end := next(events), yaml.StreamEndEvent):
        _refuse(end, "a second document; expected one")


def read_flat_yaml(path: str | os.PathLike) -> dict[str, Value]:
    """Return key to value of a YAML file of one level; a value is text, None for null, or a list of these.

    Raises:
        InputError: it cannot be read, is larger than 64 KiB, is not such YAML, or has a duplicate key.
    """
    if (size := check_input(path).stat().st_size) > MOST_BYTES:
        raise InputError(f"{path}: {size} bytes; expected a file of options of at most {MOST_BYTES}")
    entries: dict[str, Value] = {}
    try:
        for event, key, value in _entries(iter(yaml.parse(read_text(path), Loader=yaml.BaseLoader))):
            if key is None or key in entries:
                _refuse(event, f"duplicate option {shortened(repr(key))}" if key else "no option before the colon")
            entries[key] = value
    except _RefusedError as error:
        line, problem = error.args
        raise InputError(f"{path}:{line}: not a readable YAML file of options ({problem})") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:  # also an escape that is not a character
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        said = getattr(error, "problem", None) or str(error)
        raise InputError(f"{where}: not a readable YAML file ({shortened(said, 300)})") from None
    return entries


def dumped(values: Mapping[str, Any]) -> str:
    """Return plain values as YAML that `read_dumped` reads, in their order."""
    return yaml.safe_dump(dict(values), sort_keys=False, default_flow_style=None)


def read_dumped(path: str | os.PathLike) -> dict[str, Any]:
    """Return key to value of a file with what `dumped` returned, with the types that it had; a run's config.yaml is one.

    Raises:
        InputError: as `read_flat_yaml`.
    """
    read_flat_yaml(path)  # nothing but plain values, so that the loader below builds nothing else
    text = read_text(path)
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # "=", "<<", a date that is none: quoted if it was text
        raise InputError(f"{path}: not a file that this project wrote ({shortened(str(error), 300)})") from None
    if names := [name for name in values if not isinstance(name, str)]:
        raise InputError(
            f"{path}: {shortened(repr(names[0]))} is a {type(names[0]).__name__}; expected the name of an option"
        )
    return values
