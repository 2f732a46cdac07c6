"""The version of this package, as installed or, run from a checkout, as pyproject.toml states it."""

import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGE = "wsol-granularity"


@cache
def version() -> str:
    """Return the version, such as 0.1.0; "unknown" if nothing states it."""
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    try:
        found = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        if found["name"] == PACKAGE:
            return found["version"]
    except (OSError, ValueError, KeyError):
        pass
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return "unknown"
