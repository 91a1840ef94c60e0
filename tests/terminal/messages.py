"""Every sentence that the package prints or raises, by file, as one reads it in `messages.txt`.

`python -m tests.terminal.messages` writes the file anew.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_suffix(".txt")
CALLS = {"UserError", "ValueError", "TypeError", "Failed", "NotRun", "print", "warn", "warning", "info"}


def messages() -> str:
    """One line for each message, `file: text`, with the expressions in braces."""
    lines = []
    for folder in ("vje_ppl", "models", "guides"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            if place.startswith(("vje_ppl/models", "vje_ppl/guides")):  # links to the folders at the top
                continue
            lines += [f"{place}: {text}" for text in _messages_of(ast.parse(path.read_text(encoding="utf-8")))]
    return "\n".join(lines) + "\n"


def _messages_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and _name(node.func) in CALLS:
            text = " ".join(_text(node.args[0]).split())
            if " " in text:
                yield text


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.FormattedValue):
        return "{" + ast.unparse(node.value) + "}"
    if isinstance(node, ast.BinOp):
        return f"{_text(node.left)}{_text(node.right)}"
    return "{" + ast.unparse(node) + "}"


if __name__ == "__main__":
    FILE.write_text(messages(), encoding="utf-8")
