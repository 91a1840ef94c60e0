"""The picture of one-class anomaly detection: AUROC of each score and class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from vje_ppl.measures.anomaly.tables import MEAN, headline_first, label
from vje_ppl.pictures.style import COLOURS, FAINT, INK, names, new_figure, tidy

#: Worse than chance, chance, better than chance.
COLOURS_OF_AUROC = LinearSegmentedColormap.from_list("auroc", [COLOURS[1], "#f6f6f6", COLOURS[0]])

NAMES_AT = 3.1  # inches left of the cells


def one_class_figure(rows: Sequence[dict[str, Any]], title: str) -> Figure:
    """A cell for each score and class, coloured by its distance from chance; headline on top, mean at the right.

    Args:
        rows: of `evaluate_one_class`.
        title: the run's name.
    """
    classes = list(dict.fromkeys(row["class"] for row in rows))
    classes = [name for name in classes if name != MEAN] + [MEAN] * (MEAN in classes)
    lines = list(dict.fromkeys((label(row), row["views"]) for row in headline_first(rows)))
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
            strong = abs(value - 0.5) > 0.3
            axes.text(
                column, line, f"{value:.2f}", ha="center", va="center", fontsize=7.5, color="white" if strong else INK
            )
    tidy(axes, grid="")
    names(axes, classes, "x", rotation=0 if max(map(len, classes)) <= 5 else 40)
    names(axes, [views for _, views in lines], "y")
    beside = blended_transform_factory(axes.transAxes, axes.transData) + ScaledTranslation(
        -NAMES_AT, 0, figure.dpi_scale_trans
    )
    headlines = {(label(row), row["views"]) for row in rows if row["headline"]}
    for line, (name, views) in enumerate(lines):
        weight = "bold" if (name, views) in headlines else "normal"
        axes.text(0, line, name, transform=beside, va="center", fontsize=8, color=INK, fontweight=weight)
    if len(classes) > 1:
        axes.axvline(len(classes) - 1.5, color="white", linewidth=3)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("the class that the model was trained on", fontsize=8, color=FAINT)
    return figure
