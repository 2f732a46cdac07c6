"""The notebook of docs/ runs from its first to its last cell."""

import pytest

from conftest import CHECKOUT

NOTEBOOK = CHECKOUT / "docs/boxes.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(monkeypatch, tmp_path):
    nbformat, nbclient = (pytest.importorskip(name) for name in ("nbformat", "nbclient"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2
    printed = "".join(output.get("text", "") for output in shown)
    assert "64 photos in" in printed and "boxes for given classes: largest component" in printed


def test_the_notebook_is_kept_without_outputs():
    """They would change with every run."""
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert '"outputs": []' in text and "image/png" not in text
