"""The result of an evaluation: rows in `evaluation.json`, a table, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vje_ppl.runs.files import json_lines, read_json, write_atomically

REPORT = "evaluation.json"


@dataclass(frozen=True)
class Outcome:
    """The result of one kind of evaluation.

    Attributes:
        rows: a mapping per row, with all settings.
        columns: headings of the printed table by key of the rows.
        table: the rows of the printed table, if they are not `rows` themselves.
        notes: sentences printed below the table and stored with the rows.
        pictures: figures by file name.
        facts: other facts to store with the rows.
    """

    rows: list[dict[str, Any]]
    columns: dict[str, str] = field(default_factory=dict)
    table: Sequence[dict[str, Any]] | None = None
    notes: tuple[str, ...] = ()
    pictures: dict[str, Figure] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def shown(self) -> list[dict[str, Any]]:
        """Return the rows of the printed table, under its headings."""
        if self.table is not None:
            return list(self.table)
        return [{title: row.get(key) for key, title in self.columns.items()} for row in self.rows]


def read_report(folder: Path) -> dict[str, Any]:
    """Read `evaluation.json`; empty if there is none.

    Raises:
        UserError: if it is not JSON with a mapping at its top.
    """
    return read_json(folder / REPORT) or {}


def write_report(folder: Path, facts: dict[str, Any], kind: str, result: dict[str, Any]) -> dict[str, Any]:
    """Put the result of one kind of evaluation into `evaluation.json`, beside those of the others.

    Args:
        folder: the run folder.
        facts: facts about the run, for the top.
        kind: the name of the evaluation.
        result: replaces its last result.

    Returns:
        The content of the file.
    """
    report = read_report(folder) | facts | {kind: result}
    write_atomically(folder / REPORT, json_lines(report))
    return report
