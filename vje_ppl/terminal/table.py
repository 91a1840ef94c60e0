"""Tables as plain text, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape

from vje_ppl.errors import printable
from vje_ppl.settings.checks import is_number


def format_table(rows: Sequence[Mapping[str, object]], right: Collection[str] = ()) -> str:
    """Align rows under a header: numbers to the right, text to the left, a dash for missing values.

    Args:
        rows: a mapping per line; the columns are all their keys, in order of first appearance.
        right: columns of text to align right, because they hold numbers.

    Returns:
        Lines without a final newline; an empty string for no rows.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if not columns:
        return ""
    titles = [printable(column) for column in columns]
    cells = [[_shown(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, texts)) for texts in zip(titles, *cells, strict=True)]
    to_right = [column in right or any(is_number(row.get(column)) for row in rows) for column in columns]
    lines = [titles, ["-" * width for width in widths], *cells]
    return "\n".join(_line(line, widths, to_right) for line in lines)


def markdown_table(rows: Sequence[Mapping[str, object]], right: Collection[str] = ()) -> str:
    """Format rows as a table in Markdown.

    Args:
        rows: a mapping per line; the columns are all their keys, in order of first appearance.
        right: columns to align right.

    Returns:
        Lines without a final newline; an empty string for no rows.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if not columns:
        return ""
    rule = ["---:" if column in right else "---" for column in columns]
    lines = [columns, rule, *([_shown(row.get(column), "—") for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def html_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Format rows as a table in HTML: numbers to the right, a dash for missing values.

    Args:
        rows: a mapping per line; the columns are all their keys, in order of first appearance.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    lines = "".join(f"<tr>{''.join(_html_cell(row.get(column)) for column in columns)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def format_pairs(pairs: Mapping[str, object]) -> str:
    """Align names and values, a pair per line, without a header."""
    width = max(map(len, pairs), default=0)
    return "\n".join(f"{name:<{width}}  {_shown(value)}" for name, value in pairs.items())


def _line(cells: Sequence[str], widths: Sequence[int], to_right: Sequence[bool]) -> str:
    aligned = (f"{c:>{w}}" if right else f"{c:<{w}}" for c, w, right in zip(cells, widths, to_right, strict=True))
    return "  ".join(aligned).rstrip()


def _html_cell(value: object) -> str:
    side = "right" if is_number(value) else "left"
    return f'<td style="text-align: {side}">{escape(_shown(value, "—"))}</td>'


def _shown(value: object, missing: str = "-") -> str:
    match value:
        case None:
            return missing
        case float():
            return f"{value:.4g}"
        case _:
            return printable(str(value))
