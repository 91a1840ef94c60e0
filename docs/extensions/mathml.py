"""Formulas as MathML, made by docutils when the site is built: no script, no font and no network when it is read."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError


def mathml(formula: str, as_block: bool) -> str:
    """A LaTeX formula as a `<math>` element.

    Raises:
        ExtensionError: for a command that docutils does not know; the build stops.
    """
    try:
        return str(latex2mathml.tex2mathml(formula, as_block=as_block))
    except SyntaxError as error:  # what docutils raises for LaTeX that it cannot read
        raise ExtensionError(f"the formula {formula!r} cannot be converted to MathML: {error}") from error


def _visit_inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def _visit_block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer, which `html_math_renderer` chooses."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
