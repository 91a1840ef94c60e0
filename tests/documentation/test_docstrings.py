"""Examples in docstrings print what they say."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import vje_ppl

ROOT = Path(vje_ppl.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for path in ROOT.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name):
    module = importlib.import_module(name)
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert outcome.attempted > 0
    assert outcome.failed == 0


#: Where docstrings lie; `models/` and `guides/` are linked from the package.
FOLDERS = (ROOT, ROOT.parent / "models", ROOT.parent / "guides")
SECTIONS = ("Args:", "Attributes:", "Example:", "Raises:", "Returns:", "Source:", "Yields:")


def docstrings() -> list[tuple[str, str]]:
    """Every docstring of the package, with its place."""
    return [
        (f"{path}: {getattr(node, 'name', 'module')}", ast.get_docstring(node) or "")
        for folder in FOLDERS
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    ]


def test_paragraphs_keep_their_indentation_and_code_its_line():
    """Otherwise the site shows a quotation, or backticks."""
    faults = []
    for place, text in docstrings():
        before, in_section = "", False
        for line in text.splitlines():
            if line.strip() and not line.startswith(" "):
                in_section = line in SECTIONS
            continues = before.strip() and not before.startswith((" ", "-"))
            if not in_section and continues and line.startswith(" ") and line.strip():
                faults.append(f"{place}: indented too far: {line}")
            if line.count("`") % 2:
                faults.append(f"{place}: a name in backticks is broken: {line}")
            before = line
    assert not faults, "\n".join(faults)
