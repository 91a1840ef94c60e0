"""Formulas as MathML, made when the site is built: no script and no network when it is read.

A mathematical font that the reader has sets them; for whoever has none, the site brings one that comes with matplotlib.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

FONT = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSerif.ttf"  # has the table that MathML needs

#: A function's name and what follows it, between which TeX leaves a space, unless that is a bracket.
_FUNCTION = re.compile(r"(<mi>[a-z]{2,}</mi>)(?!<m[oi]|</)|(<mi>[a-z]{2,}</mi>)(?=<mi>)")

#: What the converter leaves as it was where it does not know a command.
_UNKNOWN = re.compile(r"\\[A-Za-z]+")


def mathml(formula: str, display: str) -> str:
    """A LaTeX formula as a `<math>` element, `display` being block or inline.

    Raises:
        ExtensionError: for a command that cannot be converted; the build stops.
    """
    try:
        found = convert(formula, display=display)
    except Exception as error:
        raise ExtensionError(f"the formula {formula!r} cannot be converted to MathML: {error!r}") from error
    if unknown := _UNKNOWN.search(found):
        raise ExtensionError(f"the formula {formula!r} has {unknown.group()}, which cannot be converted to MathML")
    return _FUNCTION.sub(lambda name: f'{name.group()}<mspace width="0.17em"/>', found)


def _visit_inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _visit_block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer, which `html_math_renderer` chooses, and bring the font."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    app.connect("builder-inited", lambda app: app.config.html_static_path.append(str(FONT)))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
