"""The printed tables of anomaly scores: the headline first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[dict[str, Any]]

#: With more classes than this, the table shows only their mean; the JSON file has all.
MOST_CLASSES = 12
MEAN = "mean"


def label(row: Mapping[str, Any]) -> str:
    """Return a score as tables and pictures name it."""
    name = str(row["score"])
    if row["features"] is not None:
        of = {"trained": {"z": "z", "mu": "μ"}, "untrained": {"z": "untrained z", "mu": "untrained μ"}}
        name += f" of {of.get(row['encoder'], {}).get(row['features'], 'raw pixels')}"
    return name


def headline_first(rows: Rows) -> list[dict[str, Any]]:
    """Return the rows of the headline before the others, which stay in their order."""
    return sorted(rows, key=lambda row: not row["headline"])


def one_class_table(rows: Rows) -> list[dict[str, Any]]:
    """Return a row per score, with a column per class and the mean."""
    by_score: dict[tuple, list[dict[str, Any]]] = {}
    for row in headline_first(rows):
        by_score.setdefault((row["score"], row["encoder"], row["features"], row["views"]), []).append(row)
    lines = []
    for same in by_score.values():
        few = len(same) <= MOST_CLASSES + 1
        classes = {row["class"]: row["auroc"] for row in same if few or row["class"] == MEAN}
        lines.append(setting(same[0]) | classes)
    return lines


def ood_table(rows: Rows) -> list[dict[str, Any]]:
    """Return a row per score and data set."""
    titles = {"auroc": "AUROC", "aupr_in": "AUPR-in", "aupr_out": "AUPR-out", "fpr95": "FPR95"}
    counts = {"n_in": "n_in", "n_out": "n_out"}
    return [
        {"out": row["out"]} | setting(row) | {title: row[key] for key, title in (titles | counts).items()}
        for row in headline_first(rows)
    ]


def setting(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the name of a line's score, and how it was computed."""
    return {
        "score": label(row) + (" (headline)" if row["headline"] else ""),
        "views": row["views"],
        "S": row["S"],
        "augmentations": row["augmentations"],
        "k": row["k"],
    }
