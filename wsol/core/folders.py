"""The files below a folder, by their suffixes.

In: a folder. Out: relative paths.
"""

import os
from collections.abc import Collection
from pathlib import Path


def files_below(folder: Path, suffixes: Collection[str]) -> tuple[list[str], list[str]]:
    """Return two sorted lists of relative paths: the regular files with one of the suffixes, in upper or lower case; and
    everything else with such a name, together with the folders that were not entered, because they are links (which may run
    in circles) or cannot be read."""
    regular: list[str] = []
    others: list[str] = []

    def note(error: OSError) -> None:
        others.append(Path(error.filename).relative_to(folder).as_posix())

    for root, folders, files in os.walk(folder, onerror=note):
        for name in (*folders, *files):
            path = Path(root) / name
            link = name in folders and path.is_symlink()
            if link or (path.suffix.lower() in suffixes and not name.startswith("._")):
                (regular if path.is_file() else others).append(path.relative_to(folder).as_posix())
    return sorted(regular), sorted(others)
