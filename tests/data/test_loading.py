"""Processes that load images and die, or run out of something."""

import errno
import os
import signal

import numpy as np
import pytest
import torch

from conftest import SMALL, run
from data_loaders import LabeledImages, make_loader
from wsol.core.errors import InputError
from wsol.data import reading
from wsol.data.levels import LevelSplit
from wsol.data.loading import loading_failures

TINY = ("--architecture", "timm:test_efficientnet", "--large_feature_map", "F", "--label_level", "order", "--eval_test", "F")


class Failing(LabeledImages):
    """Images whose reading fails in the process that loads them."""

    def __init__(self, failure):
        super().__init__("", LevelSplit(["a"] * 8, np.zeros(8, dtype=np.int64)), 8)
        self.failure = failure

    def __getitem__(self, index):
        self.failure()


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def end():
    os._exit(3)


def no_memory():
    raise MemoryError


def no_files():
    raise OSError(errno.EMFILE, "Too many open files")


def fault():
    raise ZeroDivisionError("a fault of the program")


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (kill, r"images \(number \d+\) (was killed|ended; perhaps it was killed).*; workers 1: expected fewer, or 0"),
        (end, r"images \(number \d+\) ended; perhaps it was killed; workers 1"),
        (no_memory, r"ran out of resources .*workers 1"),
        (no_files, r"ran out of resources .*Too many open files.*workers 1"),
    ],
)
def test_a_process_that_dies_or_runs_short_is_a_message(failure, message):
    with pytest.raises(InputError, match=message), loading_failures(1):
        list(make_loader(Failing(failure), 4, 1, torch.device("cpu")))


def test_a_fault_of_the_program_comes_through_with_its_traceback():
    with pytest.raises(ZeroDivisionError, match="a fault of the program"), loading_failures(1):
        list(make_loader(Failing(fault), 4, 1, torch.device("cpu")))
    with pytest.raises(MemoryError), loading_failures(0):
        list(make_loader(Failing(no_memory), 4, 0, torch.device("cpu")))


@pytest.fixture
def killed_at_the_third(monkeypatch):
    """The process that loads the third image kills itself."""
    own, seen = reading.read_image, []

    def read_image(*arguments, **options):
        seen.append(arguments)
        if len(seen) >= 3 and torch.utils.data.get_worker_info():
            kill()
        return own(*arguments, **options)

    monkeypatch.setattr(reading, "read_image", read_image)


def test_commands_end_with_one_line(workspace, killed_at_the_third):
    printed = run("main.py", *SMALL[:-2], "--workers", "1", *TINY, cwd=workspace, code=2)
    assert printed.splitlines()[-1].startswith("error: a process that loads images")
    assert "Traceback" not in printed
    assert (workspace / "train_log/test_case/scoremaps/UNFINISHED.txt").exists()
    run("main.py", *SMALL, *TINY, "--epochs", "0", "--experiment_name", "good", cwd=workspace)
    checkpoint = ("--checkpoint", "train_log/good/last_checkpoint.pth.tar", "--scoremap_root", "maps")
    printed = run("inference.py", *checkpoint, "--workers", "1", cwd=workspace, code=2)
    assert printed.splitlines()[-1].startswith("error: a process that loads images")
    assert "Traceback" not in printed
