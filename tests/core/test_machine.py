import ast
import os
import platform
import signal
import subprocess
import sys

import pytest
import torch

from config import get_config, inference_parser, parse_options, training_parser
from conftest import CHECKOUT
from wsol.core import machine
from wsol.core.errors import InputError
from wsol.core.machine import MALLOC_VARIABLES


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
    assert others[0] == "wsol.core.machine"


REQUIRED = ("--checkpoint", "c", "--scoremap_root", "s")


def run_with_torch(code, folder, *words):
    """Run a command of the checkout whose `import torch` runs `code`."""
    (folder / "torch.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    script, *words = words
    words = [sys.executable, CHECKOUT / script, *words]
    return subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, timeout=60)


PAGES = """
import resource, sys
from wsol.core.machine import keep_freed_memory
import torch
kept = sys.argv[1] == "keep" and keep_freed_memory()
torch.set_num_threads(1)
for _ in range(12):  # until the heap has its size
    torch.ones(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(1 << 24)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode, **environment):
    """(whether malloc keeps memory, the page faults of twenty tensors of 64 MiB)"""
    environment = {**{name: value for name, value in os.environ.items() if name not in MALLOC_VARIABLES}, **environment}
    words = [sys.executable, "-c", PAGES, mode]
    done = subprocess.run(words, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=300)
    kept, count = done.stdout.split()
    return kept == "True", int(count)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
def test_freed_memory_is_kept_unless_the_environment_says_otherwise():
    kept, few = faults("keep")
    _, many = faults("leave")
    assert kept and few < many / 10
    assert not faults("keep", MALLOC_MMAP_THRESHOLD_="131072")[0]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("main.py --help", 0, ""),
        ("inference.py --help", 0, ""),
        ("evaluation.py --help", 0, ""),
        ("main.py --xyzzy 1", 2, "error: unrecognized option --xyzzy; --help lists the options\n"),
        ("main.py --lr 0", 2, "error: --lr 0.0: expected more than 0, at most 1e+06\n"),
        ("main.py --wsol_method adl --adl_threshold 2", 2, "error: --adl_threshold 2.0: expected 0 to 1\n"),
        ("main.py --pretrained T --pretrained_path no.pth", 2, "error: --pretrained_path no.pth: expected a file\n"),
        ("inference.py --checkpoint c --images p", 2, "error: --output none: expected where to write\n"),
        (f"inference.py {' '.join(REQUIRED)} --workers -1", 2, "error: --workers -1: expected 0 or more\n"),
    ],
)
def test_help_and_refused_options_load_no_torch(words, code, said, tmp_path):
    done = run_with_torch("raise ImportError", tmp_path, *words.split())
    assert (done.returncode, done.stderr) == (code, said)
    assert bool(done.stdout) == (code == 0)


@pytest.mark.parametrize("words", [("main.py",), ("inference.py", *REQUIRED)])
def test_an_interrupt_while_torch_is_loaded_is_one_line(words, tmp_path):
    done = run_with_torch("raise KeyboardInterrupt", tmp_path, *words)
    assert (done.stderr, done.returncode) == ("interrupted\n", -signal.SIGINT)  # a shell's 130
