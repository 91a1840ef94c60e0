"""The table of a comparison, for people and for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vje_ppl.compare.columns import Differences, class_name, differences, shown
from vje_ppl.compare.measure import comparable
from vje_ppl.compare.rows import HASH, Row, Statistic
from vje_ppl.errors import UserError
from vje_ppl.settings.groups import METHOD, VJE
from vje_ppl.terminal.table import format_table, markdown_table

#: Metrics by their column, and how many digits after the point are shown.
METRICS = {"k-NN z": ("knn/z", 4), "k-NN μ": ("knn/mu", 4), "KL": ("kl", 2), "seconds": ("seconds", 1)}
ELBO, ELBO_DIGITS = "ELBO", 2
NEIGHBOURS = {"k": "knn/k", "T": "knn/temperature"}
TAKEN = ("run", "seed", "seeds", "n", *METRICS, *NEIGHBOURS, ELBO)

#: What `sort` may name beside a column; the best come first.
SORTS = {"knn/z": "k-NN z", "knn/mu": "k-NN μ", "kl": "KL", "seconds": "seconds", "elbo": ELBO, "run": "run"}
BEST_IS_HIGH = ("k-NN z", "k-NN μ", ELBO)

Cell = str | Statistic | None


@dataclass(frozen=True)
class Table:
    """Rows side by side.

    Attributes:
        heading: what all rows have in common.
        columns: their names.
        cells: a mapping a row, in the order of `rows`.
        digits: of the columns that hold figures.
        labels: short names of the rows, for a picture: those that end in a hash are told by what differs.
        notes: sentences without which the table would mislead.
        rows: what the lines are made of.
    """

    heading: str
    columns: tuple[str, ...]
    cells: tuple[dict[str, Cell], ...]
    digits: dict[str, int]
    labels: tuple[str, ...]
    notes: tuple[str, ...]
    rows: tuple[Row, ...]

    def texts(self) -> list[dict[str, str | None]]:
        """A line a row, as people read it."""
        return [
            {column: _text(line[column], self.digits.get(column, 0)) for column in self.columns} for line in self.cells
        ]

    def plain(self) -> str:
        """Aligned text."""
        return format_table(self.texts(), self._right)

    def markdown(self) -> str:
        """A table as GitHub reads it."""
        return markdown_table(self.texts(), self._right)

    def csv(self) -> str:
        """All digits; the spread over seeds, and the folders of the runs, in columns of their own."""
        spreads = [c for c in self.columns if any(isinstance(line[c], Statistic) for line in self.cells)]
        spreads = spreads if any(len(row.records) > 1 for row in self.rows) else []
        names = [name for c in self.columns for name in ([c, f"{c} sd"] if c in spreads else [c])]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [*names, "folders"], restval="", lineterminator="\n")
        writer.writeheader()
        for row, line in zip(self.rows, self.cells, strict=True):
            values: dict[str, Any] = {"folders": ";".join(str(record.path) for record in row.records)}
            for column, cell in line.items():
                values[column] = cell.mean if isinstance(cell, Statistic) else cell
                if column in spreads and isinstance(cell, Statistic):
                    values[f"{column} sd"] = cell.spread
            writer.writerow(values)
        return text.getvalue()

    @property
    def _right(self) -> list[str]:
        """The columns of numbers."""
        lines = self.texts()

        def is_right(column: str) -> bool:
            texts = [line[column] for line in lines]
            return all(_is_number(text.partition(" ± ")[0]) for text in texts if text is not None)

        return [column for column in self.columns if column != "run" and is_right(column)]


def make_table(rows: Sequence[Row], measures: Sequence[str | None], sort: str, seed_column: bool) -> Table:
    """Put rows side by side, best first.

    Args:
        rows: at least one.
        measures: the base measure of each row's likelihood; None where it is not known.
        sort: a key of `SORTS`, or a column of the table.
        seed_column: whether to show seeds even where all rows have the same.

    Raises:
        UserError: if there is nothing of that name to sort by.
    """
    leaves = [row.leaves for row in rows]
    different = differences(leaves, TAKEN)
    groups = comparable(leaves, measures)
    elbos = {group: _elbo_column(group, groups) for group in dict.fromkeys(groups) if group is not None}
    seeds = [", ".join(map(str, row.seeds)) for row in rows]
    several = any(len(row.records) > 1 for row in rows)
    neighbours = {name: [row.records[0].metrics[key] for row in rows] for name, key in NEIGHBOURS.items()}

    # The k-NN of a run without labels is an empty cell; the posterior of a method that has none is no column
    without_posterior = all(METHOD in leaf and leaf[METHOD] != VJE for leaf in leaves)
    shown_metrics = ("k-NN z",) if without_posterior else ("k-NN z", "k-NN μ", "KL")

    lines: list[dict[str, Cell]] = []
    for number, row in enumerate(rows):
        line: dict[str, Cell] = {"run": row.name}
        line |= {column.name: column.cells[number] for column in different.columns}
        line |= {"seeds" if several else "seed": seeds[number]} if seed_column or len(set(seeds)) > 1 else {}
        line |= {"n": str(len(row.records))} if several else {}
        for name, values in neighbours.items():
            line |= {name: None if values[number] is None else shown(values[number])} if len(set(values)) > 1 else {}
        line |= {column: row.statistic(metric) for column, (metric, _) in METRICS.items() if column in shown_metrics}
        line |= {name: row.statistic("elbo") if group == groups[number] else None for group, name in elbos.items()}
        line |= {"seconds": row.statistic("seconds")}
        lines.append(line)
    columns = tuple(lines[0])
    order = _order(lines, leaves, columns, sort)
    digits = {column: digits for column, (_, digits) in METRICS.items()} | dict.fromkeys(elbos.values(), ELBO_DIGITS)
    common = {name: values[0] for name, values in neighbours.items() if len(set(values)) == 1}
    return Table(
        _heading(rows, seeds, common),
        columns,
        tuple(lines[number] for number in order),
        digits,
        tuple(_label(rows[number], number, different) for number in order),
        (*different.notes, *_elbo_notes(rows, measures, groups)),
        tuple(rows[number] for number in order),
    )


def _label(row: Row, number: int, different: Differences) -> str:
    told = [f"{column.name} {column.cells[number]}" for column in different.columns if column.cells[number] is not None]
    return ", ".join(told) if told and HASH.search(row.name) else row.name


def _elbo_column(group: str, groups: Sequence[str | None]) -> str:
    return ELBO if set(groups) == {group} else f"{ELBO} [{group}]"


def _elbo_notes(rows: Sequence[Row], measures: Sequence[str | None], groups: Sequence[str | None]) -> list[str]:
    alone = [
        f"{row.name} ({measure})"
        for row, measure, group in zip(rows, measures, groups, strict=True)
        if measure is not None and group is None
    ]
    if not alone:
        return []
    return [
        "An ELBO is shown beside those of the same base measure, data, encoder and augmentation only; "
        f"it has no other to stand beside for {', '.join(alone)}."
    ]


def _heading(rows: Sequence[Row], seeds: Sequence[str], neighbours: dict[str, float | None]) -> str:
    """What is the same for all rows, so that the table can be read away from its runs."""
    leaves = [row.leaves for row in rows]

    def common(key: str) -> Any:
        values = {shown(row[key]) if key in row else None for row in leaves}
        return leaves[0][key] if len(values) == 1 and None not in values else None

    runs = sum(len(row.records) for row in rows)
    facts = [f"{runs} run{'s' if runs > 1 else ''}"]
    name, images, epochs, encoder = map(common, ("data", "data.images", "trainer.epochs", "encoder._target_"))
    if name is not None:
        facts[0] += f" on {name}" + (f" ({images:,} images)" if images is not None else "")
    if epochs is not None:
        facts.append(f"{epochs} epoch{'s' if epochs != 1 else ''}")
    if encoder is not None:
        width = common("encoder.width")
        facts.append(class_name(encoder) + (f" of width {width}" if width is not None else ""))
    if len(set(seeds)) == 1:
        facts.append(f"seed{'s' if ',' in seeds[0] else ''} {seeds[0]}")
    if any(", " in text for text in seeds):
        facts.append("mean ± standard deviation over n seeds")
    known = [f"{name} = {shown(value)}" for name, value in neighbours.items() if value is not None]
    facts.append(f"weighted k-NN{' with ' if known else ''}{', '.join(known)}")
    if any(row.statistic(metric) is not None for row in rows for metric in ("kl", "elbo")):
        facts.append("KL and ELBO in nats per image")
    return "; ".join(facts) + "."


def _order(
    lines: Sequence[dict[str, Cell]], leaves: Sequence[dict[str, Any]], columns: Sequence[str], sort: str
) -> list[int]:
    """Row numbers: by data set, within which alone figures compare, then as asked; what is missing comes last."""
    column = SORTS.get(sort, sort)
    by = [name for name in columns if name == column or (column == ELBO and name.startswith(f"{ELBO} ["))]
    if not by:
        names = [*(key for key, name in SORTS.items() if name in columns), *columns]
        raise UserError(f"sort expects one of {', '.join(dict.fromkeys(names))}, got {sort}.")
    sign = -1 if column in BEST_IS_HIGH else 1

    def key(number: int) -> tuple[Any, ...]:
        return (str(leaves[number].get("data")), *(_sort_key(lines[number][name], sign) for name in by), number)

    return sorted(range(len(lines)), key=key)


def _sort_key(cell: Cell, sign: int) -> tuple[int, float, str]:
    if cell is None:
        return 2, 0.0, ""
    if isinstance(cell, Statistic):
        return 0, sign * cell.mean, ""
    return (0, sign * float(cell), "") if _is_number(str(cell)) else (1, 0.0, str(cell))


def _text(cell: Cell, digits: int) -> str | None:
    if isinstance(cell, Statistic):
        spread = "" if cell.spread is None else f" ± {cell.spread:.{digits}f}"
        return f"{cell.mean:.{digits}f}{spread}"
    return None if cell is None else str(cell)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
