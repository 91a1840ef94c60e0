"""The table of a comparison, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vje_ppl.compare.columns import class_name, differences, shown
from vje_ppl.compare.measure import comparable
from vje_ppl.compare.rows import Row, Statistic
from vje_ppl.errors import UserError
from vje_ppl.program.base_measure import bound_note
from vje_ppl.runs.files import csv_bytes
from vje_ppl.settings.groups import METHOD, VJE
from vje_ppl.terminal.table import format_table, markdown_table

#: Metrics by the column that shows them, and the number of decimals there.
METRICS = {
    "k-NN z": ("knn/z", 4),
    "k-NN μ": ("knn/mu", 4),
    "RankMe": ("rankme", 1),
    "LiDAR": ("lidar", 1),
    "KL": ("kl", 2),
    "seconds": ("seconds", 1),
}
POSTERIOR = ("k-NN μ", "KL")
#: Metrics that runs of earlier versions lack; their column is shown if a run has them.
LATER = ("RankMe", "LiDAR")
ELBO, ELBO_DECIMALS = "ELBO", 2
NEIGHBOURS = {"k": "knn/k", "T": "knn/temperature"}
TAKEN = ("run", "seed", "seeds", "n", *METRICS, *NEIGHBOURS, ELBO)

#: Further values of `sort` beside columns, and the columns in which higher is better.
SORTS = {
    **{"knn/z": "k-NN z", "knn/mu": "k-NN μ", "rankme": "RankMe", "lidar": "LiDAR", "kl": "KL"},
    **{"seconds": "seconds", "elbo": ELBO, "run": "run"},
}
BEST_IS_HIGH = ("k-NN z", "k-NN μ", "RankMe", "LiDAR", ELBO)

Cell = str | Statistic | None


@dataclass(frozen=True)
class Table:
    """Runs side by side, the best first.

    Attributes:
        heading: what all rows have in common.
        keys: the columns that are configuration keys.
        lines: cells by column, one mapping per row.
        rows: the runs of each line.
        notes: sentences without which the table would mislead.
    """

    heading: str
    keys: tuple[str, ...]
    lines: tuple[dict[str, Cell], ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def plain(self) -> str:
        """Return the table as aligned text."""
        texts = self._texts()
        return format_table(texts, _numbers(texts))

    def markdown(self) -> str:
        """Return the table in Markdown, as GitHub reads it."""
        texts = self._texts()
        return markdown_table(texts, _numbers(texts))

    def csv(self) -> bytes:
        """Return the table as CSV, with all digits and columns for standard deviations and the runs' folders."""
        several = any(len(row.records) > 1 for row in self.rows)
        figures = {name for line in self.lines for name, cell in line.items() if isinstance(cell, Statistic)}
        rows = []
        for row, line in zip(self.rows, self.lines, strict=True):
            cells: dict[str, Any] = {}
            for name, cell in line.items():
                cells[name] = cell.mean if isinstance(cell, Statistic) else cell
                if several and name in figures:
                    cells[f"{name} sd"] = cell.spread if isinstance(cell, Statistic) else None
            rows.append(cells | {"folders": ";".join(str(record.path) for record in row.records)})
        return csv_bytes(rows)

    def _texts(self) -> list[dict[str, str | None]]:
        return [{name: _text(cell, name) for name, cell in line.items()} for line in self.lines]


def make_table(rows: Sequence[Row], measures: Sequence[str | None], sort: str, seed_column: bool) -> Table:
    """Put rows side by side, the best first.

    Args:
        rows: at least one row.
        measures: the base measure of each row's likelihood; None where it is not known.
        sort: a key of `SORTS`, or a column of the table.
        seed_column: whether to show seeds even where all rows have the same.

    Raises:
        UserError: if `sort` names nothing in the table.
    """
    leaves = [row.leaves for row in rows]
    keys = {column.name: column.cells for column in differences(leaves, TAKEN)}
    seeds = [", ".join(map(str, row.seeds)) for row in rows]
    several = any(len(row.records) > 1 for row in rows)
    neighbours = {name: [row.records[0].metrics[key] for row in rows] for name, key in NEIGHBOURS.items()}
    groups = comparable(leaves, measures)
    without_posterior = all(METHOD in leaf and leaf[METHOD] != VJE for leaf in leaves)

    columns: dict[str, Sequence[Cell]] = {"run": [row.name for row in rows], **keys}
    if seed_column or len(set(seeds)) > 1:
        columns["seeds" if several else "seed"] = seeds
    if several:
        columns["n"] = [str(len(row.records)) for row in rows]
    for name, values in neighbours.items():
        if len(set(values)) > 1:
            columns[name] = [None if value is None else shown(value) for value in values]
    for name, (metric, _) in METRICS.items():
        if name == "seconds":
            columns |= _elbo_columns(rows, groups)
        cells = [row.statistic(metric) for row in rows]
        unknown = name in LATER and all(cell is None for cell in cells)
        if not unknown and not (without_posterior and name in POSTERIOR):
            columns[name] = cells

    lines = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    order = _order(lines, leaves, sort)
    return Table(
        _heading(rows, seeds, {name: values[0] for name, values in neighbours.items() if len(set(values)) == 1}),
        tuple(keys),
        tuple(lines[number] for number in order),
        tuple(rows[number] for number in order),
        tuple(_elbo_notes(rows, measures, groups)),
    )


def _elbo_columns(rows: Sequence[Row], groups: Sequence[str | None]) -> dict[str, list[Cell]]:
    """Return a column for each group of rows whose ELBOs may be compared."""
    return {
        ELBO if set(groups) == {group} else f"{ELBO} [{group}]": [
            row.statistic("elbo") if own == group else None for row, own in zip(rows, groups, strict=True)
        ]
        for group in dict.fromkeys(groups)
        if group is not None
    }


def _elbo_notes(rows: Sequence[Row], measures: Sequence[str | None], groups: Sequence[str | None]) -> list[str]:
    alone = [
        f"{row.name} ({measure})"
        for row, measure, group in zip(rows, measures, groups, strict=True)
        if measure is not None and group is None
    ]
    same = "the same base measure, data, encoder and augmentation"
    shown = dict.fromkeys(measure for measure, group in zip(measures, groups, strict=True) if measure and group)
    notes = [bound_note(measure) for measure in shown]
    return notes + [f"No ELBO is shown where no other row has {same}: {', '.join(alone)}."] * bool(alone)


def _heading(rows: Sequence[Row], seeds: Sequence[str], neighbours: Mapping[str, float | None]) -> str:
    """Return what all rows have in common, so that the table can be read without its runs."""
    first, *others = (row.leaves for row in rows)
    same = {key: value for key, value in first.items() if all(value == leaves.get(key) for leaves in others)}
    runs = sum(len(row.records) for row in rows)
    facts = [f"{runs} run{'s' if runs > 1 else ''}"]
    if "data" in same:
        facts[0] += f" on {same['data']}" + (f" ({same['data.images']:,} images)" if "data.images" in same else "")
    if "trainer.epochs" in same:
        facts.append(f"{same['trainer.epochs']} epoch{'s' if same['trainer.epochs'] != 1 else ''}")
    if "encoder._target_" in same:
        width = f" of width {same['encoder.width']}" if "encoder.width" in same else ""
        facts.append(class_name(same["encoder._target_"]) + width)
    if len(set(seeds)) == 1:
        facts.append(f"seed{'s' if ',' in seeds[0] else ''} {seeds[0]}")
    if any(", " in text for text in seeds):
        facts.append("mean ± standard deviation over n seeds")
    known = [f"{name} = {shown(value)}" for name, value in neighbours.items() if value is not None]
    facts.append(f"weighted k-NN{' with ' if known else ''}{', '.join(known)}")
    if any(row.statistic(metric) is not None for row in rows for metric in ("kl", "elbo")):
        facts.append("KL and ELBO in nats per image")
    return "; ".join(facts) + "."


def _order(lines: Sequence[Mapping[str, Cell]], leaves: Sequence[Mapping[str, Any]], sort: str) -> list[int]:
    """Return row numbers: by data set, because figures compare only within one, then by `sort`; empty cells last."""
    column = SORTS.get(sort, sort)
    by = [name for name in lines[0] if name == column or (column == ELBO and name.startswith(f"{ELBO} ["))]
    if not by:
        names = [*(key for key, name in SORTS.items() if name in lines[0]), *lines[0]]
        raise UserError(f"sort expects one of {', '.join(dict.fromkeys(names))}, got {sort}.")
    sign = -1 if column in BEST_IS_HIGH else 1

    def key(number: int) -> tuple[Any, ...]:
        return str(leaves[number].get("data")), *(_sort_key(lines[number][name], sign) for name in by), number

    return sorted(range(len(lines)), key=key)


def _sort_key(cell: Cell, sign: int) -> tuple[int, float, str]:
    match cell:
        case None:
            return 2, 0.0, ""
        case Statistic():
            return 0, sign * cell.mean, ""
        case _:
            return (0, sign * float(cell), "") if _is_number(cell) else (1, 0.0, cell)


def _text(cell: Cell, column: str) -> str | None:
    _, decimals = METRICS.get(column, (ELBO, ELBO_DECIMALS))
    return cell.text(decimals) if isinstance(cell, Statistic) else cell


def _numbers(lines: Sequence[Mapping[str, str | None]]) -> list[str]:
    """Return the columns of numbers, which are aligned right."""
    return [
        name
        for name in lines[0]
        if name != "run" and all(_is_number(text.partition(" ± ")[0]) for line in lines if (text := line[name]))
    ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
