"""Table: out-of-distribution detection by each method and score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vje_ppl.compare.rows import Statistic
from vje_ppl.measures.anomaly.tables import label
from vje_ppl.measures.detection import DEFINITIONS
from vje_ppl.reproduce.products.dots import Line, colour_of, dots
from vje_ppl.reproduce.results import NOT_RUN, Product, Record, Results, cell_facts, one_a_seed, over_seeds, text

MEASURES = {"AUROC": "auroc", "AUPR-in": "aupr_in", "AUPR-out": "aupr_out", "FPR95": "fpr95"}

#: The near and the far data sets of OpenOOD v1.5 for CIFAR-10 (Zhang et al., 2023), and ours.
GROUPS = {
    "near": ("left_out", "cifar100", "tiny_imagenet"),
    "far": ("mnist", "svhn", "dtd", "places365", "fashion_mnist", "sample_photos"),
}

#: The scores that the table shows, where a method has them: name and views. The CSV file has all.
SHOWN = (
    ("conditional", "augmented-augmented"),
    ("surprise", "augmented-augmented"),
    ("aggregate", "clean"),
    ("joint", "clean-clean"),
    ("evidence", "all"),
    ("regret", "clean"),
    ("surprise_rank", "augmented-augmented"),
    ("knn_distance", "clean"),
    ("mahalanobis", "clean"),
    ("ssd", "clean"),
)

Key = tuple[str, str, str | None, str]  # encoder, score, features, views


def ood(results: Results) -> Product:
    """AUROC, AUPR and FPR95 in percent for each set of other images, and the mean AUROC of the near and far sets."""
    table: list[dict[str, Any]] = []
    lines = []
    for block in results.study.blocks:
        outs = _outs(results.of_block(block))
        for method, records, keys in _methods(results, block.name, list(block.variants)):
            if not records:
                table.append({"data": block.name, "method": method, "score": NOT_RUN})
            for key in keys:
                sample = _find(records[0], key, outs[0])
                name = label({**sample, "encoder": "trained"}) + " ★" * bool(sample["headline"])
                drawn = {}
                for out in outs:
                    found = {title: _over(records, key, [out], measure) for title, measure in MEASURES.items()}
                    shown = {title: text(value) or NOT_RUN for title, (value, _) in found.items()}
                    about = {"data": block.name, "out": out, "method": method, "score": name}
                    table.append(about | shown | {"seeds": found["AUROC"][1]})
                    drawn[out] = found["AUROC"][0]
                for group, members in GROUPS.items():
                    several = [out for out in outs if out in members]
                    if len(several) > 1:
                        mean, seeds = _over(records, key, several, "auroc")
                        about = {"data": block.name, "out": f"mean of {group}", "method": method, "score": name}
                        nothing = dict.fromkeys(list(MEASURES)[1:])
                        table.append(about | {"AUROC": text(mean) or NOT_RUN} | nothing | {"seeds": seeds})
                values = {out: value for out, value in drawn.items() if value is not None}
                lines.append(Line(block.name, f"{method}: {name}", values, colour_of(method), len(records)))
    table.sort(key=lambda row: (row["data"], _place(row.get("out"))))
    notes = (DEFINITIONS, "★ the headline score, fixed beforehand: conditional, augmented-augmented, S = 16, 8 pairs.")
    figure = dots(lines, list(dict.fromkeys(out for line in lines for out in line.values)), _title(results))
    return Product(list(_rows(results)), table, figure, notes)


def _title(results: Results) -> str:
    return f"{results.study.title}: AUROC, %"


def _place(out: str | None) -> tuple[int, int]:
    """Return where the rows of a set of other images stand in the table: near, its mean, far, its mean."""
    for number, (group, members) in enumerate(GROUPS.items()):
        if out == f"mean of {group}":
            return number, len(members)
        if out in members:
            return number, members.index(out)
    return len(GROUPS), 0


def _outs(records: Sequence[Record]) -> list[str]:
    found = {row["out"] for record in records for row in record["evaluation"]["ood"]}
    return sorted(found, key=_place)


def _methods(results: Results, block: str, variants: list[str]) -> Iterator[tuple[str, list[Record], list[Key]]]:
    """Yield methods with their records and the scores they have; then untrained features and raw pixels."""
    every: list[Record] = []
    for variant in variants:
        records = results.of(block, variant)
        every += records
        have = dict.fromkeys(_key(row) for row in records[0]["evaluation"]["ood"]) if records else {}
        of_z = [key for key in have if key[0] == "trained" and key[2] in (None, "z") and (key[1], key[3]) in SHOWN]
        yield variant, records, sorted(of_z, key=lambda key: SHOWN.index((key[1], key[3])))
    reference = one_a_seed(every)
    for name, encoder, features in (("untrained", "untrained", "z"), ("raw pixels", "none", "pixels")):
        have = dict.fromkeys(_key(row) for row in reference[0]["evaluation"]["ood"]) if reference else {}
        keys = [key for key in have if key[0] == encoder and key[2] == features and (key[1], key[3]) in SHOWN]
        if keys:
            yield name, reference if encoder == "untrained" else reference[:1], keys


def _key(row: Mapping[str, Any]) -> Key:
    return row["encoder"], row["score"], row["features"], row["views"]


def _find(record: Record, key: Key, out: str) -> Any:
    return next((row for row in record["evaluation"]["ood"] if _key(row) == key and row["out"] == out), None)


def _over(records: Sequence[Record], key: Key, outs: Sequence[str], measure: str) -> tuple[Statistic | None, int]:
    """Return a measure over seeds, averaged over several sets of other images."""

    def value(record: Record) -> float | None:
        rows = [_find(record, key, out) for out in outs]
        return None if any(row is None for row in rows) else sum(row[measure] for row in rows) / len(rows)

    return over_seeds(records, value)


def _rows(results: Results) -> Iterator[dict[str, Any]]:
    for record in results.records.values():
        yield from (cell_facts(record) | row for row in record["evaluation"]["ood"])
