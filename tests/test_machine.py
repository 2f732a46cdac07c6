import ast
import os
import signal
import subprocess
import sys

import pytest
import torch

from config import get_config, inference_parser, parse_options, training_parser
from conftest import CHECKOUT
from wsol import machine
from wsol.errors import InputError


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/a/b\n", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000"}, 1),
        ("0::/\n", {"cpu.max": "300000 100000"}, 3),
        ("0::/a\n", {"a/cpu.max": "nonsense"}, 8),
        ("4:cpu,cpuacct:/x\n1:memory:/x\n", {"cpu/x/cpu.cfs_quota_us": "400000", "cpu/x/cpu.cfs_period_us": "100000"}, 4),
        ("4:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, 8),
        ("nonsense", {}, 8),
        ("", {}, 8),
    ],
)
def test_cores_are_those_of_the_affinity_and_of_the_control_groups(tmp_path, monkeypatch, membership, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    for name, text in files.items():
        write(tmp_path / "groups" / name, text)
    write(tmp_path / "membership", membership)
    assert machine.usable_cores(tmp_path / "groups", tmp_path / "membership") == expected
    assert machine.usable_cores(tmp_path / "groups", tmp_path / "no_such_file") == 8


@pytest.mark.parametrize(("cores", "workers", "toys"), [(1, 1, 1), (2, 2, 2), (64, 4, 2)])
def test_there_are_no_more_workers_than_cores_by_default(monkeypatch, cores, workers, toys):
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)
    assert (machine.default_workers(), machine.default_workers(2)) == (workers, toys)


def test_the_default_number_of_workers_is_one_that_torch_does_not_warn_of(recwarn):
    workers = get_config(["--dataset_name", "X"])[0].workers
    torch.utils.data.DataLoader([0], num_workers=workers)
    assert workers == training_parser("").known_defaults["workers"]
    assert not recwarn.list


def test_threads_are_resolved_once_and_do_not_depend_on_workers(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    monkeypatch.setattr(machine, "usable_cores", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert machine.resolve_threads("auto") == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert machine.resolve_threads("auto") == 6
    assert machine.resolve_threads(5) == 5


def test_threads_are_read_and_refused():
    assert get_config([])[0].threads == "auto"
    assert get_config(["--threads", "3"])[0].threads == 3
    assert parse_options(inference_parser(""), ["--checkpoint", "c", "--scoremap_root", "m", "--threads", "2"]).threads == 2
    for wrong in ("0", "-1", "many", "1.5", "9" * 400):
        with pytest.raises(InputError, match="threads"):
            get_config(["--threads", wrong])


@pytest.mark.parametrize("script", ["main.py", "inference.py"])
def test_commands_choose_how_threads_wait_before_torch_is_loaded(script):
    assert os.environ["OMP_WAIT_POLICY"]
    body = ast.parse((CHECKOUT / script).read_text(encoding="utf-8")).body
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = [node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports]
    others = [name for name in modules if name.split(".")[0] not in sys.stdlib_module_names]
    assert others[0] == "wsol.machine"


@pytest.mark.parametrize("script", ["main.py", "inference.py"])
def test_an_interrupt_while_torch_is_loaded_is_one_line(script, tmp_path):
    (tmp_path / "torch.py").write_text("raise KeyboardInterrupt")
    words, environment = [sys.executable, CHECKOUT / script], {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stderr, done.returncode) == ("interrupted\n", -signal.SIGINT)  # a shell's 130
