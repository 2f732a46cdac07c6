"""Fixtures: the folder of reference data (skipped where absent), Toy made once, a local file server, commands run as a
user runs them."""

import contextlib
import http.server
import importlib
import io
import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import cv2
import pytest
import torch
from munch import Munch

from dataset import toy
from official import FileServer
from samples import write_split

torch.set_num_threads(1)  # as in the processes that tests start: the number changes how sums are rounded
CHECKOUT = Path(__file__).resolve().parent.parent
# What a test's training shares: two classes' worth of work, a few seconds.
SMALL = ("--epochs", "1", "--num_train_sample_per_class", "2", "--num_val_sample_per_class", "2", "--workers", "0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the files that fork first: a fork of a process whose libraries have threads may hang, and has all its memory.

    Then those with slow tests: of several processes, the last file to start decides when all are done.
    """
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (not item.get_closest_marker("forks"), -slow[item.path]))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference data (golden results, released metadata, real images) beside the checkout."""
    folder = CHECKOUT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no reference data: the folder shared/ is not beside the checkout")
    return folder


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with dataset/Toy and metadata/Toy."""
    root = tmp_path_factory.mktemp("toy")
    toy.prepare(root / "dataset", root / "metadata")
    return root


def link_toy(toy_root: Path, folder: Path) -> None:
    """Give a folder Toy's images and metadata."""
    for name in ("dataset", "metadata"):
        (folder / name).symlink_to(toy_root / name)


@pytest.fixture
def workspace(toy_root: Path, tmp_path: Path) -> Path:
    """A folder to run commands in, with Toy prepared."""
    link_toy(toy_root, tmp_path)
    return tmp_path


@pytest.fixture
def two_images(tmp_path: Path) -> Munch:
    """A data set D whose val split has two images with boxes, b.jpg with two of them."""
    return write_split(
        tmp_path / "metadata" / "D" / "val",
        image_ids=["a.jpg", "x, y/b.jpg"],
        class_labels=["a.jpg,0", "x, y/b.jpg,1"],
        image_sizes=["a.jpg,20,10", "x, y/b.jpg,8,8"],
        empty=[],
        localization=["a.jpg,0,0,9,4", "x, y/b.jpg,0,0,3,3", "x, y/b.jpg,4,4,8,8"],
    )


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., str]:
    """evaluation.py, called in `tmp_path`."""
    return partial(run, "evaluation.py", cwd=tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[type[FileServer], str]]:
    """A server of the files in tmp_path/served, and its address; what it does wrong is set on the class."""

    class Handler(FileServer):
        folder, breaks, wrong, pages, requests = tmp_path / "served", {}, set(), set(), []

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as opened:
        threading.Thread(target=opened.serve_forever, daemon=True).start()
        yield Handler, f"http://127.0.0.1:{opened.server_port}"
        opened.shutdown()


@contextlib.contextmanager
def own_process() -> Iterator[None]:
    """Set back what a command sets for its process: the log's handlers, threads, deterministic algorithms, environment."""
    handlers, level = logging.root.handlers[:], logging.root.level
    logging.root.handlers.clear()  # or `start_logging` would close them, which are pytest's
    threads = torch.get_num_threads(), cv2.getNumThreads()
    deterministic, fill = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    try:
        with mock.patch.dict(os.environ):
            yield
    finally:
        for handler in logging.root.handlers:
            handler.close()
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
        torch.use_deterministic_algorithms(deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = fill


def call(main: Callable[[], None], *words: object, cwd: Path, code: int | None = 0) -> str:
    """Call a command's `main` in this process (one of its own takes seconds to import torch), in `cwd`; check its exit code
    (None: any) and return what it printed."""
    printed = io.StringIO()
    with (
        own_process(),
        contextlib.chdir(cwd),
        mock.patch.object(sys, "argv", [main.__module__, *map(str, words)]),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        try:
            main()
            ended = 0
        except SystemExit as stop:
            ended = stop.code or 0
    assert code in (ended, None), printed.getvalue()
    return printed.getvalue()


def run(script: str, *words: object, cwd: Path, code: int = 0) -> str:
    """Call a Python script of the checkout in this process; see `call`."""
    return call(importlib.import_module(script.removesuffix(".py").replace("/", ".")).main, *words, cwd=cwd, code=code)


# A network of 100,000 parameters, trained at Toy's two orders.
TINY = ("--architecture", "timm:test_efficientnet", "--label_level", "order", "--large_feature_map", "F", "--workers", "0")


def refused_start(workspace: Path, path: str, *words: str) -> str:
    """Start a run from a file of weights that main.py is to refuse; return what it printed."""
    options = ("--pretrained", "T", "--pretrained_path", path, "--epochs", "0", "--eval_test", "F")
    return run("main.py", *TINY, *options, *words, cwd=workspace, code=2)


def run_process(script: str, *words: object, cwd: Path, code: int = 0) -> str:
    """Run a Python or shell script of the checkout as a user does, in a process of its own; see `call`."""
    done = subprocess.run(
        ["bash" if script.endswith(".sh") else sys.executable, str(CHECKOUT / script), *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    assert "Traceback" not in output, output
    return output


@pytest.fixture
def run_here(tmp_path: Path) -> Callable[..., str]:
    """`call` in `tmp_path`."""
    return partial(call, cwd=tmp_path)
