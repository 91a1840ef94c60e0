"""Table: what each part of the method does, one change at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vje_ppl.reproduce.products.dots import Line, colour_of, dots, references
from vje_ppl.reproduce.results import NOT_RUN, Product, Record, Results, cell_facts, over_seeds, text

MEASURES = {"k-NN z": "knn/z", "k-NN μ": "knn/mu"}


def ablation(results: Results) -> Product:
    """k-NN accuracy in percent at the last epoch, and the KL in nats, for the base and each change of it."""
    table, lines = [], []
    for block in results.study.blocks:
        for variant in block.variants:
            records = results.of(block.name, variant)
            found = {name: over_seeds(records, _metric(key)) for name, key in MEASURES.items()}
            kl, _ = over_seeds(records, _metric("kl"))
            line: dict[str, Any] = {"data": block.name, "change": variant}
            table.append(
                line
                | {name: text(value) or NOT_RUN for name, (value, _) in found.items()}
                | {"KL": text(kl, factor=1.0), "seeds": len(records)}
            )
            values = {name: value for name, (value, _) in found.items() if value}
            lines.append(Line(block.name, variant, values, seeds=len(records)))
        for name, _, reference, count in references(results.of_block(block)):
            nothing = dict.fromkeys([*MEASURES, "KL"])
            shown = {"k-NN z": text(reference), "seeds": count}
            table.append({"data": block.name, "change": name} | nothing | shown)
            lines.append(Line(block.name, name, {"k-NN z": reference}, colour_of(name), count))
    drawn = dots(lines, list(MEASURES), f"{results.study.title}: top-1, %")
    notes = []
    for block in results.study.blocks:
        settings = {
            f"k = {one['metrics']['knn/k']}, T = {one['metrics']['knn/temperature']:g}"
            for variant in block.variants
            for one in results.of(block.name, variant)
        }
        notes += [f"{block.name}: weighted k-NN with {one}." for one in sorted(settings)]
    return Product(list(_rows(results)), table, drawn, notes)


def _metric(key: str) -> Any:
    return lambda record: record["metrics"].get(key)


def _rows(results: Results) -> Iterator[dict[str, Any]]:
    for record in results.records.values():
        yield cell_facts(record) | {key: record["metrics"].get(key) for key in _figures(record)}


def _figures(record: Record) -> list[str]:
    wanted = ("knn/", "elbo", "objective", "kl", "log_likelihood/", "posterior_scale", "share_at_bound", "spread")
    return [key for key in record["metrics"] if key.startswith(wanted)]
