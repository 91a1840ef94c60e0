"""Table: the trials by which each method's optimizer was chosen, on images held out of the training set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vje_ppl.reproduce.products.dots import Line, colour_of, dots, references
from vje_ppl.reproduce.results import NOT_RUN, Product, Results, cell_facts, over_seeds, text

RATE = "optimizer.lr"


def tuning(results: Results) -> Product:
    """k-NN accuracy on z in percent for each method and learning rate; the best of a method in the last column."""
    table, lines = [], []
    for block in results.study.blocks:
        rates = block.sweep[RATE]
        for variant in block.variants:
            found = {
                rate: over_seeds(results.of(block.name, variant, {RATE: rate}), lambda one: one["metrics"]["knn/z"])
                for rate in rates
            }
            means = {rate: statistic.mean for rate, (statistic, _) in found.items() if statistic is not None}
            line: dict[str, Any] = {"data": block.name, "method": variant}
            table.append(
                line
                | {f"lr {rate:g}": text(statistic) or NOT_RUN for rate, (statistic, _) in found.items()}
                | {"best lr": f"{max(means, key=lambda rate: means[rate]):g}" if means else None}
            )
            values = {f"lr {rate:g}": one for rate, (one, _) in found.items() if one is not None}
            lines.append(Line(block.name, variant, values, colour_of(variant)))
        for name, _, statistic, _ in references(results.of_block(block)):  # the same at any rate
            same = {f"lr {rate:g}": text(statistic) for rate in rates}
            table.append({"data": block.name, "method": name} | same | {"best lr": None})
    measures = list(dict.fromkeys(name for line in lines for name in line.values))
    figure = dots(lines, measures or [RATE], f"{results.study.title}: top-1, %", one_scale=True)
    return Product(list(_rows(results)), table, figure)


def _rows(results: Results) -> Iterator[dict[str, Any]]:
    for record in results.records.values():
        yield cell_facts(record) | {key: value for key, value in record["metrics"].items() if key.startswith("knn/")}
