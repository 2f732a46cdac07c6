"""The data sets that a command may be given by name: those in a metadata folder, and those that prepare.py makes."""

import os
from pathlib import Path

from dataset.addresses import ALIASES, SOURCES
from wsol.core.errors import InputError, did_you_mean
from wsol.data.metadata import dataset_names

PREPARED = ("Toy", *SOURCES)  # what prepare.py takes


def how_to_prepare(name: str) -> str:
    """Return "; make it with ..." for a data set that prepare.py makes, "" for any other."""
    return f"; make it with 'python dataset/prepare.py {name}'" if name in PREPARED else ""


def require_dataset(metadata_root: str | os.PathLike, name: str) -> None:
    """Raise InputError if a data set has no metadata; the message says how to make it, or which name may have been meant."""
    root = Path(metadata_root)
    if (root / name).is_dir():
        return
    found = dataset_names(root)
    hint = how_to_prepare(name)
    if not hint:
        near = f"; did you mean {ALIASES[name]}?" if name in ALIASES else did_you_mean(name, {*found, *PREPARED})
        hint = f"{near}; {root} has {', '.join(found) or 'no data set'}, prepare.py makes {', '.join(PREPARED)}"
    raise InputError(f"{root / name}: no metadata of a data set {name!r}{hint}; or give another --metadata_root")
