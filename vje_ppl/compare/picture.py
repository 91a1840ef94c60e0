"""The picture of a comparison: k-NN accuracy of each run, with its spread over seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vje_ppl.compare.rows import HASH, Row
from vje_ppl.compare.table import Cell, Table
from vje_ppl.pictures.style import (
    BLUE,
    FAINT,
    LEVEL_STYLES,
    ORANGE,
    dot,
    frame,
    legend_in_head,
    names,
    new_figure,
    png,
    shortened,
)

DOTS = {"z": ("knn/z", "o", BLUE, -0.14), "μ": ("knn/mu", "D", ORANGE, 0.14)}
LEVELS = {"raw pixels": ("knn/pixels", LEVEL_STYLES[0]), "untrained z": ("knn/untrained_z", LEVEL_STYLES[1])}
WIDTH, ROW_HEIGHT, MARGIN = 7.5, 0.27, 0.95  # inches
TALLEST = 60.0  # inches
LONGEST_NAME = 44  # characters


def picture(table: Table) -> bytes:
    """Return the comparison as a PNG file."""
    return png(figure(table))


def figure(table: Table) -> Figure:
    """Draw one panel per data set, with one line per row of the table, the best above."""
    pairs = zip(table.lines, table.rows, strict=True)
    panels = [(data, list(panel)) for data, panel in groupby(pairs, key=lambda pair: str(pair[1].leaves.get("data")))]
    heights = [MARGIN + ROW_HEIGHT * len(panel) for _, panel in panels]
    note = "bars: one standard deviation over seeds" if any(len(row.records) > 1 for row in table.rows) else ""
    drawn = new_figure(WIDTH, min(TALLEST, 0.4 + sum(heights)), "Weighted k-NN accuracy", note)
    grid = drawn.add_gridspec(len(panels), 1, height_ratios=heights)
    for place, (data, panel) in enumerate(panels):
        lines, rows = zip(*panel, strict=True)
        _draw(drawn.add_subplot(grid[place]), data, _labels(lines, rows, table.keys), rows)
    return drawn


def _draw(axes: Axes, data: str, labels: Sequence[str], rows: Sequence[Row]) -> None:
    handles = {**_draw_levels(axes, rows), **_draw_dots(axes, rows)}
    frame(axes, data, "%", grid="both", lines=1 if handles else 0)
    if handles:
        legend_in_head(axes, list(handles.values()), list(handles), lines=1, columns=len(handles))
    else:
        axes.text(0.5, 0.5, "no run has k-NN", transform=axes.transAxes, ha="center", va="center", color=FAINT)
    names(axes, labels, "y")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.05)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
    axes.tick_params(axis="x", labelbottom=bool(handles))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _draw_dots(axes: Axes, rows: Sequence[Row]) -> dict[str, Artist]:
    """Draw z and μ of each run; return a dot of each for the legend."""
    handles: dict[str, Artist] = {}
    for name, (metric, marker, colour, shift) in DOTS.items():
        for number, row in enumerate(rows):
            value = row.statistic(metric)
            if value is not None:
                handles[name] = dot(axes, value.mean, value.spread, number + shift, colour, marker)
    return handles


def _draw_levels(axes: Axes, rows: Sequence[Row]) -> dict[str, Artist]:
    """Draw references as vertical lines beside the runs that they belong to; return a line of each for the legend."""
    handles: dict[str, Artist] = {}
    for name, (metric, style) in LEVELS.items():
        levels = [None if (value := row.statistic(metric)) is None else 100 * value.mean for row in rows]
        known = {level for level in levels if level is not None}
        label = f"{name} {known.pop():.1f}" if len(known) == 1 else name
        for level, together in groupby(range(len(rows)), key=lambda number: levels[number]):
            numbers = list(together)
            if level is not None:
                ends = [numbers[0] - 0.5, numbers[-1] + 0.5]
                (handles[label],) = axes.plot([level, level], ends, color=FAINT, linewidth=1.2, linestyle=style)
    return handles


def _labels(lines: Sequence[dict[str, Cell]], rows: Sequence[Row], keys: Sequence[str]) -> list[str]:
    """Return the names of runs; where a name is a hash, the values that most rows of the panel do not share, if any."""
    labels = []
    usual = {key: Counter(line[key] for line in lines).most_common(1)[0] for key in keys}
    for line, row in zip(lines, rows, strict=True):
        differences = [
            f"{key} {line[key]}"
            for key, (cell, count) in usual.items()
            if line[key] is not None and not (line[key] == cell and 2 * count > len(lines))
        ]
        labels.append(
            shortened(", ".join(differences) if differences and HASH.search(row.name) else row.name, LONGEST_NAME)
        )
    return labels
