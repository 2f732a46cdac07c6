"""Progress: seen on a terminal only, and never the reason that work stops."""

import io
import os
import sys

import pytest

from wsol.core.progress import progress, tell


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_bar_is_drawn_on_a_terminal_and_nothing_elsewhere(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", written := stream())
    assert list(progress(iter(range(5)), "mapping", 5)) == [0, 1, 2, 3, 4]
    assert ("mapping" in written.getvalue()) == (stream is Terminal)
    assert stream is Terminal or written.getvalue() == ""


def test_a_line_that_nobody_reads_stops_nothing(monkeypatch, capsys):
    tell("begun")
    assert capsys.readouterr().out == "begun\n"
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "stdout", broken := os.fdopen(writer, "w"))
    tell("lost")
    with pytest.raises(BrokenPipeError):
        broken.close()
