"""`protocol.json` of a sweep, read: what was chosen on val, which runs are reported, and when test was opened.

In: a sweep's folder. Out: its `Protocol`, checked; None if the folder is not a sweep's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsol.core.errors import InputError
from wsol.core.files import read_json
from wsol.core.plain_values import shown

PROTOCOL = "protocol.json"
FORMAT = 1


@dataclass(frozen=True)
class Protocol:
    """The record of a sweep: `content` is the file's object."""

    path: Path
    content: Mapping[str, Any]

    @property
    def levels_alike(self) -> Mapping[str, str]:
        """A level whose classes are the same partition as another's, mapped to the level trained in its place."""
        return self.content.get("levels_alike") or {}

    def role(self, run_name: str) -> str:
        """Return "reported" or "choosing", "" for a run that the record does not name."""
        if run_name in self.content["reported"]:
            return "reported"
        candidates = (name for choice in self.content["choices"].values() for name in choice["candidates"])
        return "choosing" if run_name in candidates else ""

    def marks(self, run_name: str) -> tuple[str, ...]:
        """Return what a table has to say about a run's test results."""
        return tuple(self._opened(run_name).get("marks", ()))

    def check_test_recorded(self, run_name: str) -> None:
        """Raise InputError if there is no record that test was opened for a run."""
        if not self._opened(run_name).get("opened"):
            raise InputError(f"{self.path.parent / run_name}: results of test without a record in {self.path}")

    def _opened(self, run_name: str) -> Mapping[str, Any]:
        return ((self.content.get("test") or {}).get("runs") or {}).get(run_name, {})


def read_protocol(sweep: Path) -> Protocol | None:
    """Return the record of the sweep in a folder, None if it has none.

    Raises:
        InputError: the file is damaged.
    """
    path = sweep / PROTOCOL
    if not path.is_file():
        return None
    content = read_json(path)
    valid = isinstance(content, Mapping) and content.get("format") == FORMAT
    if not valid or not all(isinstance(content.get(name), Mapping) for name in ("choices", "reported")):
        raise InputError(f"{path}: {shown(content)}; expected the record of a sweep, of format {FORMAT}")
    return Protocol(path, content)
