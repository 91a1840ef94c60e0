"""The printed tables of anomaly scores: the headline first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vje_ppl.measures.anomaly.kinds import REGRET, SURPRISE_RANK, TYPICALITY

Rows = Sequence[dict[str, Any]]

#: With more classes than this, the table shows only their mean; the JSON file has all.
MOST_CLASSES = 12
MEAN = "mean"
#: The heading of Spearman's correlation with `complexity`.
CORRELATION = "ρ PNG"
CORRELATION_NOTE = (
    f"{CORRELATION}: Spearman's rank correlation of the score with complexity, the size of the images as PNG files."
)

#: Why a score may be missing.
REASONS = {
    TYPICALITY: "the run has no calibration images, which are normal images that it was not trained on",
    REGRET: "scores.regret.steps is 0",
    SURPRISE_RANK: "a distribution of the likelihood has no sample()",
}


def notes(rows: Rows, wants: Callable[[str], bool], has_program: bool) -> tuple[str, ...]:
    """Return sentences on the scores: what the correlation is, and which scores of a program are not reported, and why.

    Args:
        rows: of scores.
        wants: whether a score is to be reported, by name.
        has_program: whether the method is a probabilistic program.
    """
    found = {str(row["score"]).partition("/")[0] for row in rows}
    missing = [name for name in REASONS if name not in found and wants(name)]
    said = [f"{name} is not reported: {REASONS[name]}." for name in missing if has_program]
    return CORRELATION_NOTE, *said


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
        of_all = next((row for row in same if row["class"] == MEAN), same[0])
        lines.append(setting(same[0]) | classes | {CORRELATION: of_all["complexity_correlation"]})
    return lines


def ood_table(rows: Rows) -> list[dict[str, Any]]:
    """Return a row per score and data set."""
    titles = {"auroc": "AUROC", "aupr_in": "AUPR-in", "aupr_out": "AUPR-out", "fpr95": "FPR95"}
    counts = {"n_in": "n_in", "n_out": "n_out"}
    return [
        {"out": row["out"]}
        | setting(row)
        | {title: row[key] for key, title in (titles | {"complexity_correlation": CORRELATION} | counts).items()}
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
