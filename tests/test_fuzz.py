"""A sample of the fuzz trial (scripts/trials/fuzz.py): random files for every reader, and what judges them."""

import os
import resource
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

with mock.patch.dict(os.environ):  # the trials set a variable as they are imported
    from scripts.trials.fuzz import READ, READERS, REFUSED, Guard, Reader, input_of, read_valid, run_reader, try_input
    from wsol.core.errors import InputError

pytestmark = pytest.mark.forks
EACH = 8  # inputs of each reader


@pytest.fixture(scope="module")
def guard():
    return Guard()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "root"


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_any_file_is_read_or_refused(reader, guard, place):
    for files in reader.seeds():  # libraries load what they need, without the limits below
        try:
            read_valid(reader, files, place)
        except InputError:
            assert reader.name == "images"  # of these some have formats that are not read

    @settings(max_examples=EACH, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def check(number):
        said, detail = try_input(reader, input_of(reader, 0, number), place, guard)
        assert said in (READ, REFUSED), detail

    check()


def _bad(root):
    """What a reader must not do, by the content of a file."""
    what = (root / "file").read_text()
    if what == "outside":
        (root.parent / "found").write_text("")
    elif what == "run":
        os.system("true")  # noqa: S605 (the guard must note it)
    elif what == "raise":
        raise KeyError(what)
    elif what == "no name":
        raise InputError("wrong")
    elif what == "allocate":
        bytearray(1 << 30)
    elif what == "hide":
        try:
            bytearray(1 << 30)
        except MemoryError:
            raise InputError(f"{root}: damaged") from None
    elif what == "long":
        raise InputError(f"{root}: " + "\x1b[2J" * 5000)
    elif what == "die":
        os._exit(3)
    elif what == "good":
        raise InputError(f"{root}: wrong")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        *(("outside", "writes outside"), ("run", "executes: os.system"), ("raise", "raises: KeyError")),
        *(
            ("no name", "names no"),
            ("allocate", "allocates"),
            ("hide", "allocates"),
            ("long", REFUSED),
            ("good", REFUSED),
            ("fine", READ),
        ),
    ],
)
def test_what_no_reader_may_do_is_found(what, said, guard, tmp_path):
    reader = Reader("bad", list, (), _bad)
    assert try_input(reader, {"file": what.encode()}, tmp_path / "root", guard)[0].startswith(said)
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_a_process_that_dies_costs_one_input_and_inputs_depend_on_their_number_alone(tmp_path):
    names = ("good", "die", "fine")
    reader = Reader("dies", lambda: [{"file": b"fine"}], (lambda data, rng: rng.choice(names).encode(),), _bad)
    outcomes = list(run_reader(reader, range(12), 1, tmp_path))
    expected = {"good": REFUSED, "die": "process dies", "fine": READ}
    assert [one.said for one in outcomes] == [expected[input_of(reader, 1, i)["file"].decode()] for i in range(12)]
    assert len({one.said for one in outcomes}) == 3
    assert Path(tmp_path / "dies").is_dir()
