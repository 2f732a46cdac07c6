"""The log of a run, where standard output or its file fails."""

import logging
import os
import sys

import pytest

from conftest import own_process
from samples import full_disk
from wsol.core.errors import InputError
from wsol.core.log import start_logging


@pytest.fixture
def logger():
    with own_process():
        yield logging.getLogger("wsol")


def test_a_log_that_cannot_be_written_ends_the_run_with_one_line(tmp_path, logger, capsys):
    start_logging(tmp_path / "log.txt")
    logger.info("the first line")
    with full_disk(20), pytest.raises(InputError, match=r"log\.txt: cannot be written \(File too large\)"):
        logger.info("more than there is room for")
    assert "Traceback" not in capsys.readouterr().err


def test_the_file_goes_on_where_standard_output_fails(tmp_path, logger, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "stdout", broken := os.fdopen(writer, "w"))
    start_logging(tmp_path / "log.txt")
    for line in ("first", "second"):
        logger.info(line)
    assert [line.split()[1] for line in (tmp_path / "log.txt").read_text().splitlines()] == ["first", "second"]
    with pytest.raises(BrokenPipeError):
        broken.close()
