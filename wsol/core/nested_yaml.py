"""YAML of several levels as plain dicts, lists and text, with the line of every entry for messages.

In: a file. Out: a `Section` whose getters check what they return. Values are text as written, so that each option interprets
its own; no types are guessed, and nothing is built from tags, anchors or aliases.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

import yaml

from wsol.core.errors import InputError, did_you_mean, shortened
from wsol.core.files import check_input, read_text

MOST_BYTES = 1 << 18
Tree = dict[str, "Tree"] | list["Tree"] | str


class _Loader(yaml.SafeLoader):
    """Composes nodes with every scalar as text, and refuses aliases and tags."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 (as PyYAML has it)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return the next node; raise if it is an alias, or has an anchor or a tag."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(
                problem="an anchor, alias or tag; expected plain values", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)


@dataclass(frozen=True)
class Section:
    """A mapping of a file: its entries, and where it stands, for messages."""

    path: str
    name: str
    line: int
    entries: dict[str, yaml.Node]

    def fail(self, key: str | None, problem: str) -> NoReturn:
        """Raise an InputError that names the file, the line and the entry."""
        line = self.entries[key].start_mark.line + 1 if key in self.entries else self.line
        where = ".".join(part for part in (self.name, key) if part)
        raise InputError(f"{self.path}:{line}: {where + ': ' if where else ''}{problem}")

    def known(self, names: Iterable[str], what: str = "entry") -> None:
        """Raise InputError if there is an entry with another name."""
        names = list(names)
        for key in self.entries:
            if key not in names:
                self.fail(key, f"unknown {what}{did_you_mean(key, names) or '; expected ' + ', '.join(names)}")

    def section(self, key: str) -> "Section":
        """Return a mapping in this one; an empty one if there is no such entry."""
        if key not in self.entries:
            return Section(self.path, f"{self.name}.{key}".lstrip("."), self.line, {})
        return _section(self.path, f"{self.name}.{key}".lstrip("."), self.entries[key], self)

    def sections(self, key: str) -> list["Section"]:
        """Return a list of mappings; an empty list if there is no such entry."""
        if key not in self.entries:
            return []
        node = self.entries[key]
        if not isinstance(node, yaml.SequenceNode):
            self.fail(key, "expected a list, an item per '- '")
        name = f"{self.name}.{key}".lstrip(".")
        return [_section(self.path, f"{name}[{i}]", one, self) for i, one in enumerate(node.value)]

    def words(self, key: str) -> list[str]:
        """Return a list of texts, or one text as a list."""
        tree = _tree(self.entries[key])
        words = tree if isinstance(tree, list) else [tree]
        if not words or not all(isinstance(word, str) for word in words):
            self.fail(key, "expected a value, or a list of values in [ ]")
        return [word for word in words if isinstance(word, str)]

    def text(self, key: str) -> str:
        """Return one text."""
        tree = _tree(self.entries[key])
        if not isinstance(tree, str):
            self.fail(key, "expected one value")
        return tree

    def value(self, key: str, read: Callable[[str], object]) -> object:
        """Return one text as `read` converts it; its ValueError becomes an InputError with the line."""
        try:
            return read(self.text(key))
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 (argparse's own error of a type is no ValueError)
            self.fail(key, f"{shortened(repr(self.text(key)))} is invalid ({error})")

    def tree(self) -> dict[str, Tree]:
        """Return the whole mapping as plain dicts, lists and texts."""
        return {key: _tree(node) for key, node in self.entries.items()}

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)


def _tree(node: yaml.Node) -> Tree:
    if isinstance(node, yaml.MappingNode):
        return {key.value: _tree(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_tree(one) for one in node.value]
    return node.value


def _section(path: str, name: str, node: yaml.Node, above: Section | None) -> Section:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        is_empty = isinstance(node, yaml.ScalarNode) and node.value == "" and node.style is None
        if is_empty and above is not None:
            return Section(path, name, line, {})
        raise InputError(f"{path}:{line}: {name + ': ' if name else ''}expected lines of 'name: value'")
    entries: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise InputError(f"{path}:{key.start_mark.line + 1}: a nested key; expected a name")
        if key.value in entries:
            raise InputError(f"{path}:{key.start_mark.line + 1}: {key.value!r} is there twice; expected it once")
        _refuse_twice(path, value)
        entries[key.value] = value
    return Section(path, name, line, entries)


def _refuse_twice(path: str, node: yaml.Node) -> None:
    """Raise InputError if a mapping below has a key twice; PyYAML would take the last one."""
    if isinstance(node, yaml.MappingNode):
        _section(path, "", node, None)
    elif isinstance(node, yaml.SequenceNode):
        for one in node.value:
            _refuse_twice(path, one)


def read_nested_yaml(path: str | os.PathLike) -> Section:
    """Return the mapping that a YAML file holds.

    Raises:
        InputError: the file cannot be read, is larger than MOST_BYTES, is not a mapping, holds a key twice, or anything but
            plain values.
    """
    if check_input(path).stat().st_size > MOST_BYTES:
        raise InputError(f"{path}: larger than {MOST_BYTES} bytes; expected a short YAML file")
    text = read_text(path)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two: an escape that is not a character
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InputError(f"{where}: not valid YAML ({getattr(error, 'problem', None) or error})") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply; expected a short YAML file") from None
    if node is None:
        raise InputError(f"{path}: empty; expected lines of 'name: value'")
    return _section(str(path), "", node, None)
