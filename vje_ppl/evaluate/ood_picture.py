"""The picture of out-of-distribution detection: how far each score sets two data sets apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vje_ppl.measures.anomaly.distances import KNN_DISTANCE, MAHALANOBIS
from vje_ppl.measures.anomaly.kinds import (
    AGGREGATE,
    CONDITIONAL,
    KL,
    LOG_PRECISION,
    PREDICTIVE,
    SURPRISE,
    UNCERTAINTY,
    Score,
)
from vje_ppl.measures.anomaly.tables import label
from vje_ppl.measures.anomaly.view_pairs import AUGMENTED_AUGMENTED, CLEAN
from vje_ppl.measures.detection import auroc, roc
from vje_ppl.pictures.style import COLOURS, FAINT, head, new_figure, tidy

#: Name, views and features of the scores that are drawn, where there are such.
DRAWN = (
    (CONDITIONAL, AUGMENTED_AUGMENTED, None),
    (PREDICTIVE, AUGMENTED_AUGMENTED, None),
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
SHADES = (*COLOURS, "#7A5195")  # as many as a method has of them


def ood_figure(inside: Sequence[Score], outside: Sequence[Score], name_in: str, name_out: str) -> Figure:
    """ROC curves of a few scores, and a histogram of each.

    Args:
        inside: scores of the run's own test images.
        outside: the same scores of the other data set's images.
        name_in: the run's data set.
        name_out: the other one.
    """
    pairs = [(ours, theirs) for ours, theirs in zip(inside, outside, strict=True) if _is_drawn(ours)]
    lines = math.ceil((1 + len(pairs)) / COLUMNS)
    counts = len(inside[0].values), len(outside[0].values)
    note = f"grey: {name_in}, {counts[0]} images; in colour: {name_out}, {counts[1]} images; higher = more anomalous"
    figure = new_figure(3.0 * COLUMNS, 2.5 * lines + 0.5, f"{name_in} against {name_out}", note)
    _draw_roc(figure.add_subplot(lines, COLUMNS, 1), pairs)
    for place, (ours, theirs) in enumerate(pairs):
        axes = figure.add_subplot(lines, COLUMNS, place + 2)
        _draw_histograms(axes, ours, theirs, SHADES[place])
    return figure


def _is_drawn(score: Score) -> bool:
    kind = score.kind
    return kind.encoder == "trained" and (kind.name, kind.views, kind.features) in DRAWN


def _draw_roc(axes: Axes, pairs: Sequence[tuple[Score, Score]]) -> None:
    head(axes, "ROC", "colours as in the panels")
    axes.plot([0, 1], [0, 1], color="#cccccc", linewidth=1)
    for place, (ours, theirs) in enumerate(pairs):
        axes.plot(*roc(ours.values, theirs.values), color=SHADES[place], linewidth=1.5)
    tidy(axes, grid="both")
    axes.set_xlabel("normal images flagged", fontsize=8, color=FAINT)
    axes.set_ylabel("anomalies flagged", fontsize=8, color=FAINT)


def _draw_histograms(axes: Axes, ours: Score, theirs: Score, colour: str) -> None:
    """Both histograms over the range that holds 98 % of all scores; those beyond are counted in the outermost bins."""
    head(axes, label(ours.kind.row), f"AUROC {auroc(ours.values, theirs.values):.3f}")
    low, high = np.quantile(np.concatenate([ours.values, theirs.values]), [0.01, 0.99])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1).tolist()
    for values, shade in ((ours.values, "#9a9a9a"), (theirs.values, colour)):
        axes.hist(np.clip(values, edges[0], edges[-1]), edges, density=True, color=shade, alpha=0.55, linewidth=0)
    tidy(axes)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.set_yticks([])
    axes.set_xlabel(ours.kind.views, fontsize=8, color=FAINT)
