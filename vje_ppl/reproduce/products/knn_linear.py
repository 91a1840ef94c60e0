"""Table: k-NN, linear and whitened k-NN accuracy of each method and data set, as far as its study has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vje_ppl.compare.rows import Statistic
from vje_ppl.reproduce.products.dots import Line, colour_of, dots
from vje_ppl.reproduce.results import (
    NOT_RUN,
    Product,
    Record,
    Results,
    cell_facts,
    one_a_seed,
    over_seeds,
    row_of,
    text,
)

NAMES = {"z": "z", "mu": "μ", "pixels": "pixels"}

#: The kinds of evaluation of a study that names none.
MEASURED = ("knn", "linear")

Measures = dict[str, tuple[str, dict[str, Any]]]

#: Heading, kind of evaluation, and the values that its row must have.
MEASURES: Measures = {
    "k-NN, k = 200": ("knn", {"k_asked": 200}),
    "k-NN, k = 30": ("knn", {"k_asked": 30}),
    "linear": ("linear", {}),
    "whitened, k = 200": ("whitened_knn", {"k_asked": 200}),
    "whitened, k = 30": ("whitened_knn", {"k_asked": 30}),
}


def knn_linear(results: Results) -> Product:
    """Return the top-1 accuracy in percent: mean ± sample standard deviation over seeds; the last epoch's."""
    kinds = {kind for cell in results.cells for kind in cell.asked.get("eval", MEASURED)}
    measures = {name: measure for name, measure in MEASURES.items() if measure[0] in kinds}
    lines = list(_lines(results, measures))
    table = [
        {"data": block, "method": method, "features": NAMES[features]}
        | {name: text(found) or NOT_RUN for name, (found, _) in values.items()}
        | {"seeds": max(count for _, count in values.values())}
        for block, method, features, values in lines
    ]
    drawn = [
        Line(
            block,
            " ".join([method] + [NAMES[features]] * (features != "pixels")),
            _means(values),
            colour_of(method),
            max(count for _, count in values.values()),
        )
        for block, method, features, values in lines
    ]
    title = f"{results.study.title}: top-1, %"
    figure = dots(drawn, list(measures), title, heads=_heads(results))
    return Product(list(_rows(results, kinds)), table, figure, tuple(_notes(results)))


Values = dict[str, tuple[Statistic | None, int]]


def _lines(results: Results, measures: Measures) -> Iterator[tuple[str, str, str, Values]]:
    referenced: set[str] = set()  # data whose references another block has shown
    for block in results.study.blocks:
        for variant in block.variants:
            records = results.of(block.name, variant)
            for features in ("z", "mu") if any(_has_mean(one) for one in records) else ("z",):
                yield block.name, variant, features, _values(records, measures, "trained", features)
        reference = one_a_seed(results.of_block(block))
        if reference and block.name not in referenced:
            referenced.add(block.name)
            yield block.name, "untrained", "z", _values(reference, measures, "untrained", "z")
            yield block.name, "raw pixels", "pixels", _values(reference[:1], measures, "none", "pixels")


def _values(records: list[Record], measures: Measures, encoder: str, features: str) -> Values:
    def top1(kind: str, wanted: dict[str, Any]) -> tuple[Statistic | None, int]:
        def value(record: Record) -> float | None:
            row = row_of(record, kind, encoder=encoder, features=features, **wanted)
            return None if row is None else row["top1"]

        return over_seeds(records, value)

    return {name: top1(*measure) for name, measure in measures.items()}


def _has_mean(record: Record) -> bool:
    return row_of(record, "knn", encoder="trained", features="mu") is not None


def _means(values: Values) -> dict[str, Statistic]:
    return {name: found for name, (found, _) in values.items() if found is not None}


def _rows(results: Results, kinds: set[str]) -> Iterator[dict[str, Any]]:
    for record in results.records.values():
        for kind in sorted(kinds):
            for row in record["evaluation"].get(kind, ()):
                plain = {key: value for key, value in row.items() if not isinstance(value, dict)}
                yield cell_facts(record) | {"evaluation": kind} | plain


def _knn_rows(results: Results) -> list[tuple[str, Any]]:
    """Return the block and every row of k-NN."""
    return [(record["block"], row) for record in results.records.values() for row in record["evaluation"]["knn"]]


def _notes(results: Results) -> Iterator[str]:
    rows = _knn_rows(results)
    for temperature in sorted({row["temperature"] for _, row in rows}):
        yield f"Weighted k-NN with T = {temperature:g}."
    clipped: dict[str, set[str]] = {}
    for block, row in rows:
        if row["k"] != row["k_asked"]:
            clipped.setdefault(block, set()).add(f"{row['k']} for {row['k_asked']}")
    for block, pairs in clipped.items():
        yield f"k is at most half the smallest class: on {block} it is {', '.join(sorted(pairs))}."


def _heads(results: Results) -> dict[tuple[str, str], str]:
    """Return panels whose k is not the requested k."""
    asked = {wanted["k_asked"]: name for name, (kind, wanted) in MEASURES.items() if kind == "knn"}
    return {
        (block, asked[row["k_asked"]]): f"k-NN, k = {row['k']}"
        for block, row in _knn_rows(results)
        if row["k_asked"] in asked and row["k"] != row["k_asked"]
    }
