import errno
import os
import pickle
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import CHECKOUT
from wsol.core.errors import InputError, OptionError, OptionName, command, did_you_mean, shortened
from wsol.core.files import check_input, whole_file


def ended(main, run_here, code):
    return run_here(command(main), code=code)


def raises(error):
    def main():
        raise error

    return main


def test_a_bug_is_one_last_line_after_its_traceback_and_names_the_file_at_hand(run_here, tmp_path):
    (tmp_path / "odd.txt").touch()

    def main():
        check_input("odd.txt")
        {}["x"]

    said = ended(main, run_here, 1).splitlines()
    assert said[0] == "Traceback (most recent call last):"
    assert said[-2] == "error: a bug of this program (the last file was odd.txt): KeyError: 'x'"
    assert said[-1] == "Please report it, with the command and all lines above."


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.ENAMETOOLONG, errno.EMFILE, errno.EIO])
def test_what_the_system_refuses_is_one_line(run_here, number):
    said = ended(raises(OSError(number, os.strerror(number), "some/file")), run_here, 2)
    assert said == f"error: some/file: {os.strerror(number)}\n"


def test_an_error_of_the_system_without_a_file_names_the_last_one(run_here, tmp_path):
    def main():
        with suppress(InputError):
            check_input(tmp_path / "a.txt")
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    said = ended(main, run_here, 2)
    assert said == f"error: Connection reset by peer (the last file was {tmp_path / 'a.txt'})\n"
    assert ended(raises(OSError(errno.EIO, "Odd")), run_here, 2) == "error: Odd\n"  # of this command, not of an earlier one


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_a_lack_of_memory_is_one_line(run_here, error, tmp_path):
    def main():
        with whole_file(tmp_path / "big.npy"):
            raise error

    said = ended(main, run_here, 2)
    assert said.startswith(f"error: not enough memory (the last file was {tmp_path / 'big.npy'}): ")
    assert said.count("\n") == 1


def test_input_error_interrupt_and_the_end_of_help(run_here):
    assert ended(raises(InputError("x.txt: odd")), run_here, 2) == "error: x.txt: odd\n"
    assert ended(raises(KeyboardInterrupt()), run_here, 130) == "interrupted\n"
    assert ended(raises(SystemExit(0)), run_here, 0) == ""
    assert ended(raises(SystemExit("why")), run_here, 1) == "why\n"


def test_a_warning_is_a_line_without_code(run_here):
    def main():
        warnings.warn("mind the gap", stacklevel=1)

    before = warnings.formatwarning
    with warnings.catch_warnings():  # pytest's own records them
        warnings.showwarning = lambda *seen: print(warnings.formatwarning(*seen[:4]), end="", file=sys.stderr)
        assert ended(main, run_here, 0) == "WARNING: mind the gap\n"
    assert warnings.formatwarning is before


def test_a_long_exception_is_cut(run_here):
    assert len(ended(raises(ValueError("x" * 10_000)), run_here, 1).splitlines()[-2]) < 800


PROGRAM = """
import sys
sys.path.insert(0, {checkout!r})
from wsol.core.errors import InputError, command, refuse_early
from wsol.core.files import write_text
from wsol.core.log import start_logging

def parse():
    if sys.argv[1] == "--help":
        print("usage")
        raise SystemExit(0)
    if sys.argv[1] == "refuse":
        raise InputError("no")

refuse_early(parse)

@command
def main():
    write_text("result.txt", "x")
    if sys.argv[1] == "log":
        log = start_logging("log.txt")
    for i in range({lines}):
        print(i) if sys.argv[1] == "print" else log.info(str(i))
    write_text("last.txt", "x")

main()
"""


@pytest.fixture
def program(tmp_path):
    """The words of a shell command that runs a program, which prints more than a pipe holds."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.format(checkout=str(CHECKOUT), lines=20_000))
    return f"{sys.executable} {path}"


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def shell(request, tmp_path):
    """Run a line of a shell in tmp_path; return its exit code, output and errors."""

    def run(line):
        words, environment = ["bash", "-c", f"set -o pipefail; {line}"], {**os.environ, "PYTHONUNBUFFERED": request.param}
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    return run


def test_a_reader_that_is_gone_ends_a_command_quietly(program, shell, tmp_path):
    assert shell(f"{program} print | head -1") == (141, "0\n", "")
    assert shell(f"{program} print 2>&1 | head -1") == (141, "0\n", "")
    assert (tmp_path / "result.txt").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_or_closed_output_is_one_line_and_no_file_is_lost(program, shell, tmp_path):
    lost = "what was printed is lost\n"
    assert shell(f"{program} print > /dev/full") == (
        2,
        "",
        f"error: standard output: No space left on device; {lost}",
    )
    assert shell(f"{program} print >&-") == (2, "", f"error: standard output: closed; {lost}")
    assert (tmp_path / "last.txt").read_text() == "x"
    assert shell(f"{program} print > /dev/full 2>&-") == (2, "", "")
    assert shell(f"{program} print >&- 2>&- <&-") == (2, "", "")


@pytest.mark.parametrize(("to", "code"), [("| head -1", 141), ("> /dev/full", 2), (">&-", 2)])
def test_a_log_goes_on_in_its_file_where_the_output_does_not(program, shell, tmp_path, to, code):
    """Hours of training are not lost because whoever read its output has ended."""
    ended, _, said = shell(f"{program} log {to}")
    assert ended == code and said.count("\n") <= 1
    assert (tmp_path / "last.txt").exists()
    assert (tmp_path / "log.txt").read_text().endswith(" 19999\n")


def test_options_are_refused_before_the_rest_of_a_program_is_loaded(program, shell, tmp_path):
    assert shell(f"{program} refuse") == (2, "", "error: no\n")
    assert shell(f"{program} --help") == (0, "usage\n", "")
    assert shell(f"{program} --help >&-")[::2] == (
        2,
        "error: standard output: closed; what was printed is lost\n",
    )
    assert not (tmp_path / "result.txt").exists()


def test_an_option_has_its_dashes_on_a_command_line_alone(run_here):
    error = OptionError("label_level", "tribe", "not together with ", OptionName("coarsening"), " of --x")
    assert (error.option, error.value) == ("label_level", "tribe")
    assert str(error) == "label_level tribe: not together with coarsening of --x"
    assert ended(raises(error), run_here, 2) == "error: --label_level tribe: not together with --coarsening of --x\n"
    assert str(OptionError("x", "", "no")) == "x: no"
    sent = pickle.loads(pickle.dumps(error))  # as a worker process sends it
    assert (type(sent), str(sent), sent.on_command_line()) == (OptionError, str(error), error.on_command_line())
    assert InputError("a.json: ", *error.parts).on_command_line() == f"a.json: {error.on_command_line()}"


def test_the_nearest_word_and_a_cut_text():
    assert did_you_mean("cub", ["Toy", "CUB"]) == "; did you mean CUB?"
    assert did_you_mean("xyzzy", ["Toy"]) == ""
    assert shortened("x" * 100, 10) == "xxxxxxxxxx... (100 characters)"
