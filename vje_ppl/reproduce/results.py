"""Finished cells, and means over their seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vje_ppl.compare.rows import Statistic
from vje_ppl.reproduce.cell import Cell, read_record
from vje_ppl.reproduce.study import Block, Study

NOT_RUN = "not run"

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """The finished cells of a study.

    Attributes:
        study: the study.
        cells: all its cells.
        records: of the finished cells, by the file name of the cell.
    """

    study: Study
    cells: Sequence[Cell]
    records: Mapping[str, Record]

    def has(self, cell: Cell) -> bool:
        """Return whether a cell is finished."""
        return cell.file_name in self.records

    def of(self, block: str, variant: str, point: Mapping[str, Any] | None = None) -> list[Record]:
        """Return finished records of a block and variant with these swept values."""
        return [
            self.records[cell.file_name]
            for cell in self.cells
            if (cell.block, cell.variant) == (block, variant)
            and self.has(cell)
            and all(cell.point.get(key) == value for key, value in (point or {}).items())
        ]

    def of_block(self, block: Block) -> list[Record]:
        """Return finished records of all variants of a block."""
        return [one for variant in block.variants for one in self.of(block.name, variant)]

    def about(self) -> list[str]:
        """Return a sentence for each data set and budget: images, epochs and seeds."""
        lines = []
        alike: dict[tuple[str, str], list[Block]] = {}
        for block in self.study.blocks:
            alike.setdefault((block.name, block.about), []).append(block)
        for block, *_ in alike.values():
            records = [record for one in alike[block.name, block.about] for record in self.of_block(one)]
            seeds = sorted({one["seed"] for one in records})
            images = ", ".join(_images(records))
            epochs = sorted({one["metrics"]["epoch"] for one in records})
            budget = f"{' or '.join(map(str, epochs))} epoch{'s' * (epochs != [1])}" if epochs else ""
            of = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}" if seeds else NOT_RUN
            lines.append(f"{block.name}: {'; '.join(filter(None, [images, block.about, budget, of]))}.")
        return lines


def _images(records: Sequence[Record]) -> Iterator[str]:
    """Yield the training images, by the data's name; models of one class have as many as the class."""
    counts: dict[str, list[int]] = {}
    for one in records:
        counts.setdefault(one["metrics"]["data"]["name"], []).append(one["metrics"]["data"]["images"])
    for name, found in sorted(counts.items()):
        least, most = min(found), max(found)
        yield f"{name}, {least:,}{f' to {most:,}' * (most > least)} training images"


@dataclass(frozen=True, eq=False)
class Product:
    """A figure or table, drawn.

    Attributes:
        rows: every number behind it, for the CSV file.
        table: the displayed table, a mapping of texts per line; empty for a figure without a table.
        figure: the picture.
        notes: sentences without which it would mislead.
    """

    rows: Sequence[Mapping[str, Any]]
    table: Sequence[Mapping[str, Any]]
    figure: Figure
    notes: Sequence[str] = field(default_factory=tuple)


def read_results(study: Study, cells: Sequence[Cell], folder: Path) -> Results:
    """Read the existing records of a study.

    Raises:
        UserError: if a record is damaged.
    """
    records: dict[str, Record] = {}
    for cell in cells:
        record = read_record(folder, cell)
        if record is not None:
            # Studies share cells that are computed alike, and each has its own sweep.
            records[cell.file_name] = record | {"point": dict(cell.point)}
    return Results(study, cells, records)


def over_seeds(records: Iterable[Record], value: Callable[[Record], float | None]) -> tuple[Statistic | None, int]:
    """Return the mean, sample standard deviation and count of a value over records; None if no record has it."""
    values = [found for record in records if (found := value(record)) is not None]
    return (Statistic.over(values) if values else None), len(values)


def one_a_seed(records: Sequence[Record]) -> list[Record]:
    """Return the first record of each seed: untrained features are the same for all methods, except for the draw."""
    return list({record["seed"]: record for record in reversed(records)}.values())


def text(statistic: Statistic | None, factor: float = 100.0, digits: int = 1) -> str | None:
    """Return a statistic as text, `43.2 ± 0.4`, in percent by default."""
    return None if statistic is None else statistic.text(digits, factor)


def row_of(record: Record, kind: str, **wanted: Any) -> Mapping[str, Any] | None:
    """Return the first row of an evaluation that has these values; None if there is none."""
    rows = record["evaluation"].get(kind, ())
    return next((row for row in rows if all(row.get(key) == value for key, value in wanted.items())), None)


def rows_of_class(record: Record) -> list[Mapping[str, Any]]:
    """Return the scores of a record's single class, without the mean over the run's classes, which is the same."""
    return [row for row in record["evaluation"]["one_class"] if row["class"] != "mean"]


def class_rows(results: Results) -> Iterator[dict[str, Any]]:
    """Yield the rows of a CSV file with all scores of models of one class."""
    for record in results.records.values():
        yield from (cell_facts(record) | dict(row) for row in rows_of_class(record))


def means_over_classes(records: Sequence[Record], classes: int, **wanted: Any) -> Iterator[dict[str, float]]:
    """Yield the mean AUROC of a score over classes for each seed that has all of them; the score as in `row_of`."""
    for seed in dict.fromkeys(record["seed"] for record in records):
        rows = [row_of(record, "one_class", **wanted) for record in records if record["seed"] == seed]
        values = [row["auroc"] for row in rows if row is not None]
        if len(values) == classes:
            yield {"auroc": sum(values) / classes}


def cell_facts(record: Record) -> dict[str, Any]:
    """Return the run of a row of a CSV file."""
    metrics = record["metrics"]
    return {
        "data": metrics["data"]["name"],
        "images": metrics["data"]["images"],
        "method": record["variant"],
        **record["point"],
        "seed": record["seed"],
        "epochs": metrics["epoch"],
        "train_seconds": metrics["seconds"],
    }
