"""From docstrings as they are written here, which read well as text, to reStructuredText.

Formulas stand in indented blocks and keep their lines; names stand in single backticks, and become links where the
reference knows them; every other character means itself.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_CODE = re.compile(r"(`+)(.+?)\1")
_NAME = re.compile(r"(?:[a-z_]+\.)+\w+|[A-Z]\w+")  # that can be nothing else: `shape` may be anything
_MARKUP = re.compile(r"[\\*|]|(?<=\w)_(?!\w)")


def restructured(lines: list[str]) -> list[str]:
    """The lines of a docstring, dedented, as reStructuredText for Napoleon."""
    result: list[str] = []
    section = literal = False
    for number, line in enumerate(lines):
        indented = line.startswith(" ")
        if line.strip() and not indented:
            section = bool(re.fullmatch(r"[A-Z]\w+:", line))  # such as Args:, with its entries indented below
            literal = False
        if indented and not section and not literal and not lines[number - 1].strip():
            result += ["::", ""]
            literal = True
        result.append(line if literal and indented else _escaped(line))
    return result


def _escaped(line: str) -> str:
    parts, end = [], 0
    for code in _CODE.finditer(line):
        parts += [_MARKUP.sub(r"\\\g<0>", line[end : code.start()]), _literal(code.group(2))]
        end = code.end()
        if line[end : end + 1].isalnum():
            parts.append("\\ ")
    return "".join([*parts, _MARKUP.sub(r"\\\g<0>", line[end:])])


def _literal(text: str) -> str:
    return f":py:obj:`.{text}`" if _NAME.fullmatch(text) else f"``{text}``"  # the dot: in whichever module


def _process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = restructured(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Come before Napoleon, whose priority is the default of 500."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
