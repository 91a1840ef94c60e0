"""Table: one-class AUROC of each class and method."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vje_ppl.compare.rows import Statistic
from vje_ppl.measures.anomaly.tables import label, setting
from vje_ppl.reproduce.products.dots import Line, colour_of, dots
from vje_ppl.reproduce.results import NOT_RUN, Product, Record, Results, class_rows, over_seeds, rows_of_class, text

#: The scores that the table shows, where a method has them: name and views. The CSV file has all.
SHOWN = (
    ("conditional", "augmented-augmented"),
    ("predictive", "augmented-augmented"),
    ("surprise", "augmented-augmented"),
    ("aggregate", "clean"),
    ("knn_distance", "clean"),
    ("nearest_cosine", "clean"),
    ("mahalanobis", "clean"),
)
REFERENCES = (("untrained", "z"), ("none", "pixels"))
CLASS = "data.only_class"

Key = tuple[str, str, str | None, str]  # encoder, score, features, views


def one_class(results: Results) -> Product:
    """AUROC in percent per class and its mean over classes, each over seeds; higher is better, 50 is chance."""
    table, lines = [], []
    for block in results.study.blocks:
        classes = list(block.sweep[CLASS])
        for method, records, keys in _methods(results, block.name, list(block.variants)):
            for key in keys:
                cells = {one: _auroc(records, key, one) for one in classes}
                mean = _mean_over_classes(records, key, classes)
                sample = {**_find(records[0], key), "encoder": "trained"}
                name = label(sample) + " ★" * sample["headline"]
                table.append(
                    {"data": block.name, "method": method}
                    | setting(sample)
                    | {"score": name}
                    | {str(one): text(found) or NOT_RUN for one, (found, _) in cells.items()}
                    | {"mean": text(mean[0]) or NOT_RUN, "seeds": mean[1]}
                )
                if mean[0] is not None:
                    values = {"mean over classes": mean[0]}
                    lines.append(Line(block.name, f"{method}: {name}", values, colour_of(method), mean[1]))
            if not keys:
                nothing = dict.fromkeys(["score", "views", "S", "augmentations", "k"])
                not_run = dict.fromkeys([*map(str, classes), "mean"], NOT_RUN)
                table.append({"data": block.name, "method": method} | nothing | not_run | {"seeds": 0})
    notes = (
        "★ the headline score, fixed beforehand: conditional, augmented-augmented, S = 16, 8 pairs. Images of all "
        "other classes are the positives; higher is better, 50 is chance. A mean is over the classes shown, then over "
        "seeds.",
    )
    title = f"{results.study.title}: AUROC, %"
    return Product(list(class_rows(results)), table, dots(lines, ["mean over classes"], title), notes)


def _methods(results: Results, block: str, variants: list[str]) -> Iterator[tuple[str, list[Record], list[Key]]]:
    """Yield methods with their records and the scores they have; then untrained features and raw pixels."""
    every = []
    for variant in variants:
        records = results.of(block, variant)
        every += records
        have = [_key(row) for row in rows_of_class(records[0])] if records else []
        of_z = [key for key in have if key[0] == "trained" and key[2] in (None, "z") and (key[1], key[3]) in SHOWN]
        yield variant, records, sorted(of_z, key=lambda key: SHOWN.index((key[1], key[3])))
    first = [one for one in every if one["variant"] == every[0]["variant"]]
    for encoder, features in REFERENCES if first else ():
        if encoder == "none":  # pixels are the same for every seed
            first = [one for one in first if one["seed"] == first[0]["seed"]]
        distances = [(encoder, score, features, "clean") for score in ("knn_distance", "nearest_cosine", "mahalanobis")]
        have = [_key(row) for row in rows_of_class(first[0])]
        yield "untrained" if encoder == "untrained" else "raw pixels", first, [key for key in distances if key in have]


def _key(row: Any) -> Key:
    return row["encoder"], row["score"], row["features"], row["views"]


def _find(record: Record, key: Key) -> Any:
    return next((row for row in rows_of_class(record) if _key(row) == key), None)


def _value(record: Record, key: Key) -> float | None:
    row = _find(record, key)
    return None if row is None else row["auroc"]


def _auroc(records: list[Record], key: Key, one: Any) -> tuple[Statistic | None, int]:
    of_class = [record for record in records if record["point"][CLASS] == one]
    return over_seeds(of_class, lambda record: _value(record, key))


def _mean_over_classes(records: list[Record], key: Key, classes: list[Any]) -> tuple[Statistic | None, int]:
    """Return the mean over classes, over the seeds that have all classes."""
    by_seed: dict[int, list[float]] = {}
    for record in records:
        value = _value(record, key)
        if value is not None:
            by_seed.setdefault(record["seed"], []).append(value)
    means = [{"auroc": sum(values) / len(values)} for values in by_seed.values() if len(values) == len(classes)]
    return over_seeds(means, lambda one: one["auroc"])
