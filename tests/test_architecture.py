"""The rooms of docs/architecture.md: a module imports only from its own room and from those before it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import CHECKOUT

ROOMS = ("core", "data", "networks", "methods", "maps", "metrics", "runs", "sweeps", "granularity", "plots", "photos")
PROGRAMS = {path.stem for path in CHECKOUT.glob("*.py")} | {"dataset", "scripts"}
MODULES = sorted(path.relative_to(CHECKOUT) for path in CHECKOUT.glob("wsol/**/*.py"))


def imported(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, at its top or in a function; for a type checker alone does not count."""
    tree = ast.parse((CHECKOUT / path).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", [path for path in MODULES if len(path.parts) == 3], ids=str)
def test_a_module_imports_only_what_stands_before_it(path):
    allowed = ROOMS[: ROOMS.index(path.parts[1]) + 1]
    for name in imported(path):
        package, *rest = name.split(".")
        assert package not in PROGRAMS, f"{path} imports {name}, a program's module"
        if package == "wsol":
            assert rest[0] in allowed, f"{path} imports {name}, which stands after it"


def test_every_module_has_a_room():
    assert {path.parts[1] for path in MODULES if len(path.parts) == 3} == set(ROOMS)
    assert [path.name for path in MODULES if len(path.parts) == 2] == ["__init__.py"]
    assert [
        path for path in MODULES if path.name == "__init__.py" and len(path.parts) > 2 and (CHECKOUT / path).read_text()
    ] == []


@pytest.mark.parametrize("names", ["evaluation", "wsol", "config", *(f"wsol.{room}" for room in ("core", "metrics"))])
def test_what_scores_needs_no_torch(names):
    """It starts in a fraction of a second, and its worker processes stay small."""
    folder = CHECKOUT / names.replace(".", "/")
    modules = [f"{names}.{path.stem}" for path in sorted(folder.glob("*.py")) if names.count(".")] or [names]
    modules = [name.removesuffix(".__init__") for name in modules if not name.endswith(("safe_load", "log"))]
    code = f"import sys, {', '.join(modules)}\n"
    code += "sys.exit(sorted(name for name in sys.modules if name.split('.')[0] == 'torch')[:1] or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
