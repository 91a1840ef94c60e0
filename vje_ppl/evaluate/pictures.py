"""The pictures of an evaluation: accuracy, one-class AUROC, detection of another data set, risk and coverage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from vje_ppl.measures.anomaly.kinds import (
    AGGREGATE,
    CONDITIONAL,
    EVIDENCE,
    JOINT,
    KL,
    KNN_DISTANCE,
    LOG_PRECISION,
    MAHALANOBIS,
    PREDICTIVE,
    SURPRISE,
    SURPRISE_RANK,
    TYPICALITY,
    UNCERTAINTY,
    Score,
)
from vje_ppl.measures.anomaly.tables import MEAN, headline_first, label
from vje_ppl.measures.anomaly.view_pairs import ALL, AUGMENTED_AUGMENTED, CLEAN
from vje_ppl.measures.detection import auroc, roc
from vje_ppl.measures.risk_coverage import RiskCoverage
from vje_ppl.pictures.style import COLOURS, GREY, INK, frame, legend, names, new_figure

#: The kinds of evaluation that are k-NN, with their names; and all that the picture of accuracy shows.
KNN = {"knn": "k-NN", "whitened_knn": "Whitened k-NN"}
ACCURACIES = (*KNN, "linear")

#: Encoder, features, label and colour of each bar, from the top.
BARS = (
    ("trained", "z", "z", COLOURS[0]),
    ("trained", "mu", "μ", COLOURS[1]),
    ("untrained", "z", "untrained z", "#b9c6cf"),
    ("untrained", "mu", "untrained μ", "#dccfc6"),
    ("none", "pixels", "raw pixels", GREY),
)

#: Worse than chance, chance, better than chance.
COLOURS_OF_AUROC = LinearSegmentedColormap.from_list("auroc", [COLOURS[1], "#f6f6f6", COLOURS[0]])
SCORES_AT = 3.1  # inches left of the cells, where the names of scores start

#: Name, views and features of the scores whose histograms are drawn, where a method has them.
DRAWN = (
    (CONDITIONAL, AUGMENTED_AUGMENTED, None),
    (PREDICTIVE, AUGMENTED_AUGMENTED, None),
    (JOINT, AUGMENTED_AUGMENTED, None),
    (SURPRISE_RANK, AUGMENTED_AUGMENTED, None),
    (EVIDENCE, ALL, None),
    (TYPICALITY, CLEAN, None),
    (AGGREGATE, CLEAN, None),
    (KL, CLEAN, None),
    (LOG_PRECISION, CLEAN, None),
    (SURPRISE, AUGMENTED_AUGMENTED, None),
    (UNCERTAINTY, CLEAN, None),
    (KNN_DISTANCE, CLEAN, "z"),
    (MAHALANOBIS, CLEAN, "z"),
)
COLUMNS = 4
BINS = 30
SHADES = (
    *COLOURS,
    "#7A5195",
    "#8C564B",
    "#1B6B5A",
    "#A6761D",
    "#4D4D4D",
)  # as many as any method has scores in `DRAWN`


def accuracy_figure(report: Mapping[str, Any], title: str) -> Figure:
    """Draw top-1 accuracy: a panel for each k of k-NN, plain and whitened, and one for the linear probe.

    Args:
        report: the content of `evaluation.json`, with the rows of at least one of `ACCURACIES`.
        title: the run's name.
    """
    panels: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for kind, name in KNN.items():
        for row in report.get(kind, {}).get("rows", ()):
            asked = "" if row["k"] == row["k_asked"] else f"; {row['k_asked']} asked for"
            panels.setdefault((f"{name}, k = {row['k']}", f"T = {row['temperature']:g}{asked}"), []).append(row)
    if "linear" in report:
        panels["Linear probe", "learning rate from the hold-out"] = report["linear"]["rows"]
    epochs = {report[kind]["epoch"] for kind in ACCURACIES if kind in report}
    trained = f"after {epochs.pop()} epochs" if len(epochs) == 1 else "k-NN and probe are of different epochs"
    note = f"{report['data']}, {trained}, seed {report['seed']}"
    figure = new_figure(3.4 * len(panels), 2.5, f"{title}: accuracy", note)
    for place, ((name, setting), rows) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), place + 1)
        found = {(row["encoder"], row["features"]): 100 * row["top1"] for row in rows}
        bars = [bar for bar in BARS if bar[:2] in found][::-1]
        for height, (encoder, features, _, colour) in enumerate(bars):
            value = found[encoder, features]
            axes.barh(height, value, color=colour, height=0.7)
            inside = value > 25
            shift, side = (-1.5, "right") if inside else (1.5, "left")
            ink = "white" if inside and encoder == "trained" else INK
            axes.text(value + shift, height, f"{value:.1f}", va="center", ha=side, fontsize=8, color=ink)
        frame(axes, name, x=f"top-1 accuracy, %; {setting}", grid="x")
        names(axes, [bar[2] for bar in bars], "y")
        axes.set_xlim(0, 100)
    return figure


def one_class_figure(rows: Sequence[dict[str, Any]], title: str) -> Figure:
    """Draw a cell for each score and class, coloured by its distance from chance; the headline is on top.

    Args:
        rows: the rows of `evaluate_one_class`.
        title: the run's name.
    """
    classes = list(dict.fromkeys(row["class"] for row in rows))
    classes = [name for name in classes if name != MEAN] + [MEAN] * (MEAN in classes)
    lines = list(dict.fromkeys((label(row), row["views"]) for row in headline_first(rows)))
    headlines = {(label(row), row["views"]) for row in rows if row["headline"]}
    values = np.full((len(lines), len(classes)), np.nan)
    for row in rows:
        values[lines.index((label(row), row["views"])), classes.index(row["class"])] = row["auroc"]
    width, height = 4.0 + 0.52 * max(3, len(classes)), 1.4 + 0.24 * len(lines)
    note = "AUROC with the other classes as positives; 0.5 is chance; bold: the headline, fixed beforehand"
    figure = new_figure(width, height, f"{title}: one class against the others", note)
    axes = figure.add_subplot()
    axes.imshow(values, cmap=COLOURS_OF_AUROC, vmin=0, vmax=1, aspect="auto")
    if len(classes) <= 30:
        for (line, column), value in np.ndenumerate(values):
            ink = "white" if abs(value - 0.5) > 0.3 else INK
            axes.text(column, line, f"{value:.2f}", ha="center", va="center", fontsize=7.5, color=ink)
    frame(axes, x="the class that the model was trained on", grid="")
    names(axes, classes, "x", rotation=0 if max(map(len, classes)) <= 5 else 40)
    names(axes, [views for _, views in lines], "y")
    shift = ScaledTranslation(-SCORES_AT, 0, figure.dpi_scale_trans)
    beside = blended_transform_factory(axes.transAxes, axes.transData) + shift
    for line, (name, views) in enumerate(lines):
        weight = "bold" if (name, views) in headlines else "normal"
        axes.text(0, line, name, transform=beside, va="center", fontsize=8, color=INK, fontweight=weight)
    if len(classes) > 1:
        axes.axvline(len(classes) - 1.5, color="white", linewidth=3)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def ood_figure(inside: Sequence[Score], outside: Sequence[Score], name_in: str, name_out: str) -> Figure:
    """Draw the ROC curves of a few scores, and a histogram of each.

    Args:
        inside: the scores of the run's own test images.
        outside: the same scores of the other data set's images.
        name_in: the run's data set.
        name_out: the other data set.
    """
    pairs = [(ours, theirs) for ours, theirs in zip(inside, outside, strict=True) if _is_drawn(ours)]
    lines = math.ceil((1 + len(pairs)) / COLUMNS)
    counts = len(inside[0].values), len(outside[0].values)
    note = f"grey: {name_in}, {counts[0]} images; in colour: {name_out}, {counts[1]} images; higher = more anomalous"
    figure = new_figure(3.0 * COLUMNS, 2.5 * lines + 0.5, f"{name_in} against {name_out}", note)
    _draw_roc(figure.add_subplot(lines, COLUMNS, 1), pairs)
    for place, (ours, theirs) in enumerate(pairs):
        _draw_histograms(figure.add_subplot(lines, COLUMNS, place + 2), ours, theirs, SHADES[place])
    return figure


def uncertainty_figure(curves: Mapping[str, RiskCoverage], uncertainty: str, title: str) -> Figure:
    """Draw the share of errors of retrieval against coverage, a panel for each kind of features.

    Args:
        curves: by features, with the most certain images first.
        uncertainty: its formula.
        title: the run's name.
    """
    note = (
        f"the most certain images first, by {uncertainty}; an error: the nearest other test image is of another class"
    )
    figure = new_figure(3.6 * len(curves), 3.0, f"{title}: risk against coverage", note)
    for place, (features, curve) in enumerate(curves.items()):
        axes = figure.add_subplot(1, len(curves), place + 1)
        wrong = np.arange(1, len(curve.risk) + 1) - len(curve.risk) + round(curve.random * len(curve.risk))
        best = np.maximum(wrong, 0) / np.arange(1, len(curve.risk) + 1)
        lines = (
            ("by the uncertainty", curve.risk, curve.area, COLOURS[0]),
            ("random order", np.full_like(curve.risk, curve.random), curve.random, GREY),
            ("errors last", best, curve.oracle, COLOURS[2]),
        )
        for name, risk, area, colour in lines:
            axes.plot(100 * curve.coverage, 100 * risk, color=colour, linewidth=1.6, label=f"{name}: {area:.4f}")
        axes.set(xlim=(0, 100), ylim=(0, 100 * min(1, max(1e-3, 2.2 * curve.random))))
        frame(axes, label({"score": "", "features": features, "encoder": "trained"}).removeprefix(" of "), "errors, %")
        axes.set_xlabel("images answered, %", fontsize=8)
        legend(axes, loc="upper left", title="area", title_fontsize=8)
    return figure


def _is_drawn(score: Score) -> bool:
    kind = score.kind
    return kind.encoder == "trained" and (kind.name, kind.views, kind.features) in DRAWN


def _draw_roc(axes: Axes, pairs: Sequence[tuple[Score, Score]]) -> None:
    axes.plot([0, 1], [0, 1], color="#cccccc", linewidth=1)
    for place, (ours, theirs) in enumerate(pairs):
        axes.plot(*roc(ours.values, theirs.values), color=SHADES[place], linewidth=1.5)
    frame(axes, "ROC", "colours as in the panels", x="normal images flagged", y="anomalies flagged", grid="both")


def _draw_histograms(axes: Axes, ours: Score, theirs: Score, colour: str) -> None:
    """Draw both histograms over the range of 98 % of all scores, with the others in the outermost bins."""
    low, high = np.quantile(np.concatenate([ours.values, theirs.values]), [0.01, 0.99])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1).tolist()
    for values, shade in ((ours.values, GREY), (theirs.values, colour)):
        axes.hist(np.clip(values, edges[0], edges[-1]), edges, density=True, color=shade, alpha=0.55, linewidth=0)
    frame(axes, label(ours.kind.row), f"AUROC {auroc(ours.values, theirs.values):.3f}", x=ours.kind.views)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.set_yticks([])
