"""Figure 4: class-averaged one-class AUROC over β and ν."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from vje_ppl.pictures.style import FAINT, INK, frame, names, new_figure
from vje_ppl.reproduce.results import (
    NOT_RUN,
    Product,
    Results,
    cell_facts,
    means_over_classes,
    over_seeds,
    row_of,
    text,
)

BETA, NU, CLASS = "objective.beta", "likelihood.df", "data.only_class"


def figure_4(results: Results) -> Product:
    """Draw a heat map of the headline score, lighter for higher AUROC as in the paper, of cells with all classes."""
    blocks = results.study.blocks
    figure = new_figure(
        1.2 + 3.6 * len(blocks), 3.9, results.study.title, "the headline score; lighter is higher; 50 is chance"
    )
    table = []
    for place, block in enumerate(blocks):
        (variant,) = block.variants
        betas, nus, classes = (block.sweep[key] for key in (BETA, NU, CLASS))
        values = np.full((len(betas), len(nus)), np.nan)
        for row, beta in enumerate(betas):
            line: dict[str, Any] = {"data": block.name, "β": f"{beta:g}"}
            for column, nu in enumerate(nus):
                records = results.of(block.name, variant, {BETA: beta, NU: nu})
                found, _ = over_seeds(
                    means_over_classes(records, len(classes), headline=True), lambda one: one["auroc"]
                )
                line[f"ν = {nu:g}"] = text(found) or NOT_RUN
                if found is not None:
                    values[row, column] = 100 * found.mean
            table.append(line)
        axes = figure.add_subplot(1, len(blocks), place + 1)
        image = axes.imshow(values, cmap="viridis", aspect="auto")
        low, high = (np.nanmin(values), np.nanmax(values)) if not np.isnan(values).all() else (0.0, 1.0)
        for (row, column), value in np.ndenumerate(values):
            light = not math.isnan(value) and value > (low + high) / 2
            shown = "–" if math.isnan(value) else f"{value:.1f}"
            axes.text(column, row, shown, ha="center", va="center", color=INK if light else "white", fontsize=9)
        frame(axes, f"{block.name}, {len(classes)} classes", "AUROC, %", x="ν", grid="")
        names(axes, [f"{nu:g}" for nu in nus], "x")
        names(axes, [f"{beta:g}" for beta in betas], "y")
        axes.set_ylabel("β", rotation=0, labelpad=14, va="center")
        figure.colorbar(image, ax=axes, shrink=0.9).ax.tick_params(labelsize=7, labelcolor=FAINT)
    notes = ["AUROC of the headline score (conditional, augmented-augmented, S = 16, 8 pairs), mean over classes."]
    notes += _references(results)
    return Product(list(_rows(results)), table, figure, notes)


def _references(results: Results) -> Iterator[str]:
    """Yield sentences about the AUROC of a distance on the same classes without any training."""
    for block in results.study.blocks:
        (variant,) = block.variants
        first = {BETA: block.sweep[BETA][0], NU: block.sweep[NU][0]}
        records = results.of(block.name, variant, first)
        found = []
        for name, encoder in {"the untrained network's z": "untrained", "raw pixels": "none"}.items():
            rows = [row_of(one, "one_class", score="mahalanobis", encoder=encoder, views="clean") for one in records]
            values = [row["auroc"] for row in rows if row is not None]
            if values:
                found.append(f"{100 * sum(values) / len(values):.1f} on {name}")
        if found:
            yield f"{block.name}: beside it, the Mahalanobis distance has {' and '.join(found)}."


def _rows(results: Results) -> Iterator[dict[str, Any]]:
    for record in results.records.values():
        row = row_of(record, "one_class", headline=True)
        if row is not None:
            yield cell_facts(record) | dict(row)
