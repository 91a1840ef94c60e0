"""The notebooks run from top to bottom, and every result at the end of a cell can be shown."""

from __future__ import annotations

import ast
import json
import logging
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

from tests.documentation.blocks import ROOT

NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))


def cells_of(notebook: Path) -> list[dict]:
    found = json.loads(notebook.read_text(encoding="utf-8"))
    assert found["nbformat"] == 4
    return found["cells"]


@pytest.fixture
def _own_folder(tmp_path, monkeypatch):
    """Without a window for pictures, and with the logger as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("vje_ppl"), "handlers", [])
    before = matplotlib.get_backend()
    matplotlib.use("agg")
    yield
    plt.close("all")
    matplotlib.use(before)


def run_cell(code: str, place: str, scope: dict) -> str:
    """Run a cell, and return what a notebook shows of the expression at its end."""
    tree = ast.parse(code, place)
    last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, place, "exec"), scope)
    value = None if last is None else eval(compile(last, place, "eval"), scope)
    as_html = getattr(value, "_repr_html_", None)
    return "" if value is None else as_html() if as_html else repr(value)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
@pytest.mark.usefixtures("_own_folder")
def test_a_notebook_runs(notebook):
    scope: dict = {"__name__": "__main__"}
    for number, cell in enumerate(cells_of(notebook)):
        if cell["cell_type"] == "code":
            code = "".join(cell["source"])
            shown = run_cell(code, f"{notebook.name}, cell {number}", scope)
            assert shown or not isinstance(ast.parse(code).body[-1], ast.Expr), code


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_stored_without_outputs(notebook):
    for cell in cells_of(notebook):
        assert cell["id"]
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_page_leads_to_each_notebook(notebook):
    assert f"({notebook.name})" in "".join(page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md"))
