"""The rows of a comparison: runs that differ only in the seed share a row."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vje_ppl.compare.record import Record

#: How a run's default name ends.
HASH = re.compile(r"-[0-9a-f]{8}\b")


@dataclass(frozen=True)
class Statistic:
    """Mean and standard deviation over seeds.

    Attributes:
        mean: over seeds.
        spread: sample standard deviation (n − 1); None for a single seed.
    """

    mean: float
    spread: float | None

    @classmethod
    def over(cls, values: Sequence[float]) -> Statistic:
        """Summarize at least one value."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    def text(self, decimals: int, factor: float = 1.0) -> str:
        """Return the mean and the spread, both multiplied by `factor`: `43.2 ± 0.4`."""
        spread = "" if self.spread is None else f" ± {factor * self.spread:.{decimals}f}"
        return f"{factor * self.mean:.{decimals}f}{spread}"


@dataclass(frozen=True)
class Row:
    """Runs of one setting, with different seeds.

    Attributes:
        name: the name of the first run, without its hash if the name is unique without it.
        records: the runs, sorted by seed.
    """

    name: str
    records: tuple[Record, ...]

    @property
    def leaves(self) -> dict[str, Any]:
        """The configuration that all runs share, by dotted keys."""
        return self.records[0].leaves

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the runs."""
        return tuple(record.seed for record in self.records)

    def statistic(self, metric: str) -> Statistic | None:
        """Return a metric over the seeds; None if any run lacks it, because a mean over the others would hide that."""
        values = [value for record in self.records if (value := record.metrics[metric]) is not None]
        return Statistic.over(values) if len(values) == len(self.records) else None


def rows_of(records: Sequence[Record], aggregate: bool) -> tuple[list[Row], list[tuple[Record, Record]]]:
    """Group runs into rows, in the order of their first runs.

    Args:
        records: the runs.
        aggregate: whether runs that differ only in the seed share a row.

    Returns:
        The rows, and the repeats: each is a pair of a run and the earlier run with the same setting and seed. If
        `aggregate` is true, repeats are left out of the rows, because they add no seed.
    """
    groups: dict[object, list[Record]] = {}
    first: dict[tuple[str, int], Record] = {}
    repeats = []
    for record in records:
        earlier = first.setdefault((record.setting, record.seed), record)
        if earlier is not record:
            repeats.append((record, earlier))
        if aggregate and earlier is record:
            groups.setdefault(record.setting, []).append(record)
        elif not aggregate:
            groups[record.path] = [record]
    bundles = [tuple(sorted(group, key=lambda record: record.seed)) for group in groups.values()]
    stems = [_stem([record.name for record in bundle]) for bundle in bundles]
    rows = []
    for bundle, stem in zip(bundles, stems, strict=True):
        full = bundle[0].name if len(bundle) == 1 else f"{bundle[0].name} and {len(bundle) - 1} more"
        rows.append(Row(stem if stem is not None and stems.count(stem) == 1 else full, bundle))
    return rows, repeats


def _stem(names: Sequence[str]) -> str | None:
    """Return the name without its hash, if it is the same for all."""
    stems = {HASH.sub("", name) for name in names}
    return stems.pop() if len(stems) == 1 else None
