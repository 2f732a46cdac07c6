"""Whether the results of test may be looked at: for a sweep's runs by the rule of the sweep (wsol/sweeps/protocol.py)."""

from collections.abc import Mapping, Sequence
from typing import Any

from wsol.core.errors import InputError, OptionName
from wsol.granularity.material import RunSet
from wsol.granularity.record import CHOSEN, is_same_choice
from wsol.runs.open_test import TEST
from wsol.runs.results import read_run
from wsol.sweeps.protocol import NAME, REUSED, read_protocol


def check_opened(runs: RunSet) -> None:
    """Check that test was evaluated for every run, and if it is a sweep's, that the sweep has opened it.

    Raises:
        InputError: it was not; the message names the run.
    """
    for run in runs.runs.values():
        place = run.folder.resolve()
        if TEST not in read_run(run.folder).splits:
            raise InputError(f"{run.folder}: has no results of {TEST}; expected runs for which {TEST} was opened")
        protocol = read_protocol(place.parent)
        if protocol is not None and not protocol.test_runs.get(place.name, {}).get("opened"):
            raise InputError(
                f"{run.folder}: {place.parent / NAME} does not say that {TEST} was opened for it; expected runs that the "
                "sweep reports"
            )


def marks_for(
    record: Mapping[str, Any],
    earlier: Mapping[str, Any] | None,
    allow_reuse: bool,
    chosen: Sequence[str] = CHOSEN,
    other: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return why the test figures of a choice are to be read with care, given the folder's earlier record.

    chosen: the entries that make two choices the same. other: where test is to be evaluated, the folder's record of the
    other kind of choice (by class, by image), if it has one.

    Raises:
        InputError: test was evaluated for another choice, and `allow_reuse` is not set.
    """
    if earlier and earlier["test"] and is_same_choice(record, earlier, chosen):
        return list(earlier["test"]["marks"])
    for each in (earlier, other):
        if each is None or each["test"] is None:
            continue
        if not allow_reuse:
            same_words = each.get("rule") == record["rule"]  # which do not say from what it was chosen
            now = f"{record['rule']} is chosen{' from other runs, or with other figures on val' if same_words else ''}"
            raise InputError(
                f"{TEST} was evaluated on {each['test']['evaluated']} for another choice ({each.get('rule')}), and now "
                f"{now}; expected the choice to stay, another folder for another question, or ",
                OptionName("allow_test_reuse"),
                ", which marks the new figures",
            )
        return [REUSED]
    return []
