"""Table: the best views of each score of one-class detection for each method.

The second headline is chosen on some classes, and its mean over the others is reported. The CSV file has all scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vje_ppl.compare.rows import Statistic
from vje_ppl.measures.anomaly.distances import DISTANCES
from vje_ppl.measures.anomaly.kinds import OF_PROGRAM
from vje_ppl.measures.anomaly.tables import label
from vje_ppl.reproduce.products.dots import Line, colour_of, dots
from vje_ppl.reproduce.results import NOT_RUN, Product, Record, Results, class_rows, over_seeds, rows_of_class, text

CLASS = "data.only_class"

#: The score is chosen on these classes, because earlier tables have shown their results.
LOOKED_AT = ("automobile", "deer", "ship")

#: Features without training: the name in the table, and the `encoder` in the rows.
REFERENCES = {"untrained": "untrained", "raw pixels": "none"}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """A score of a method on one data set.

    Attributes:
        data: the data set.
        method: the variant.
        row: one of the rows of the score, for its name and settings.
        by_class: its AUROC by class and seed.
    """

    data: str
    method: str
    row: Row
    by_class: Mapping[tuple[str, int], float]

    @property
    def name(self) -> str:
        """The score with its views."""
        return f"{label({**self.row, 'encoder': 'trained'})}, {self.row['views']}"

    @property
    def of_program(self) -> bool:
        """Whether it is a score of a probability model, rather than a distance."""
        return self.family in OF_PROGRAM

    @property
    def family(self) -> str:
        """The name without the part after a slash."""
        return str(self.row["score"]).partition("/")[0]

    def means(self, classes: Sequence[str]) -> list[float]:
        """Return the mean over classes, for each seed that has all of them."""
        seeds = sorted({seed for _, seed in self.by_class})
        found = [[self.by_class.get((one, seed)) for one in classes] for seed in seeds]
        return [sum(values) / len(values) for values in found if values and None not in values]  # type: ignore[arg-type]

    def mean(self, classes: Sequence[str]) -> float:
        """Return the mean over classes and seeds; minus infinity if a class is missing."""
        found = self.means(classes)
        return sum(found) / len(found) if found else float("-inf")


def scores(results: Results) -> Product:
    """AUROC in percent, as means over the classes that choose the second headline and over the others.

    The second headline is the score of a program, of a variant of VJE, with the best mean over the classes that were
    looked at. Of the scores of programs, the table shows the mean over the other classes for the chosen one alone; of
    distances, it shows each method's best views and features over these classes, which favours them.
    """
    table: list[dict[str, Any]] = []
    lines, notes = [], []
    for data, blocks in _by_data(results).items():
        classes = list(dict.fromkeys(one for block in blocks for one in block.sweep[CLASS]))
        looked_at = [one for one in classes if one in LOOKED_AT] or classes[:1]
        others = [one for one in classes if one not in looked_at]
        first, second = f"mean of {', '.join(looked_at)}", f"mean of the other {len(others)}"
        variants = dict.fromkeys(name for block in blocks for name in block.variants)
        entries = list(_entries(results, data, list(variants)))
        candidates = [one for one in entries if one.of_program and one.means(looked_at)]
        chosen = max(candidates, key=lambda one: one.mean(looked_at), default=None)
        distances = _best_of([one for one in entries if not one.of_program], others)
        for entry in [*_best_of(candidates, looked_at), *distances]:
            is_shown = entry is chosen or not entry.of_program
            groups = {first: looked_at} | ({second: others} if is_shown else {})
            values = {name: _over_seeds(entry, of) for name, of in groups.items()}
            name, seeds = entry.name + " ★★" * (entry is chosen), max(count for _, count in values.values())
            cells = {of: text(value) or NOT_RUN for of, (value, _) in values.items()}
            about = {"data": data, "method": entry.method, "score": name, first: None, second: None}
            table.append(about | cells | {"seeds": seeds})
            if is_shown:
                drawn = {of: value for of, (value, _) in values.items() if value is not None}
                lines.append(Line(data, f"{entry.method}: {name}", drawn, colour_of(entry.method), max(seeds, 1)))
        if chosen is not None:
            models = len({one.method for one in candidates})
            notes.append(
                f"★★ the second headline: {chosen.name} of {chosen.method}, the best mean over {', '.join(looked_at)} "
                f"among {len(candidates)} scores of {models} models. The CSV file has all of them. The table shows the "
                "best views of each score, and of each distance the views and features that are best over the other "
                f"{len(others)} classes, which favours them. A dash: not shown, because the score was not chosen."
            )
    notes.append("Images of all classes but the normal one are the positives; higher is better, 50 is chance.")
    measures = list(dict.fromkeys(name for line in lines for name in line.values))
    figure = dots(lines, measures, f"{results.study.title}: AUROC, %")
    return Product(list(class_rows(results)), table, figure, notes)


def _by_data(results: Results) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for block in results.study.blocks:
        found.setdefault(block.name, []).append(block)
    return found


def _entries(results: Results, data: str, variants: Sequence[str]) -> Iterator[Entry]:
    """Yield all scores of each variant, then distances without training, which are the same for every variant."""
    first: dict[tuple[str, int], Record] = {}
    for variant in variants:
        records = results.of(data, variant)
        for record in records:
            first.setdefault((record["point"][CLASS], record["seed"]), record)
        yield from _of_encoder(data, variant, records, "trained")
    for name, encoder in REFERENCES.items():
        seeds = {seed for _, seed in first}
        if encoder == "none":  # pixels are the same for every seed
            seeds = set(sorted(seeds)[:1])
        yield from _of_encoder(data, name, [one for (_, seed), one in first.items() if seed in seeds], encoder)


def _of_encoder(data: str, method: str, records: Sequence[Record], encoder: str) -> Iterator[Entry]:
    found: dict[tuple[Any, ...], tuple[Row, dict[tuple[str, int], float]]] = {}
    for record in records:
        for row in rows_of_class(record):
            if row["encoder"] == encoder and str(row["score"]).partition("/")[0] in (*OF_PROGRAM, *DISTANCES):
                key = row["score"], row["features"], row["views"]
                values = found.setdefault(key, (row, {}))[1]
                values[record["point"][CLASS], record["seed"]] = row["auroc"]
    for row, by_class in found.values():
        yield Entry(data, method, row, by_class)


def _best_of(entries: Sequence[Entry], classes: Sequence[str]) -> list[Entry]:
    """Return the best views and features of each method and score over some classes, the best first in each method."""
    best: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        key = entry.method, entry.family
        if key not in best or entry.mean(classes) > best[key].mean(classes):
            best[key] = entry
    methods = list(dict.fromkeys(method for method, _ in best))
    return sorted(best.values(), key=lambda one: (methods.index(one.method), -one.mean(classes)))


def _over_seeds(entry: Entry, classes: Sequence[str]) -> tuple[Statistic | None, int]:
    """Return the mean over classes, over the seeds that have all of them."""
    return over_seeds(({"auroc": value} for value in entry.means(classes)), lambda one: one["auroc"])
