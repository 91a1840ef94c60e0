"""The picture of a run: a small panel for each quantity worth watching."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vje_ppl.pictures.style import (
    COLOURS,
    FAINT,
    HEADER_LINE,
    LEVEL_STYLES,
    frame,
    legend_in_head,
    new_figure,
    note_in_head,
    number,
    save,
    say_empty,
    shortened,
)

Rows = Sequence[Mapping[str, Any]]

CURVE_STYLES = ("solid", (0, (1, 1)), (0, (5, 1, 1, 1)))
PANEL_SIZE = (4.0, 2.7)  # inches
HEADER_WIDTH = 54  # characters of the small font that fit across a panel
ENTRY_WIDTH = 6  # characters that an entry of a legend takes beside its label
LONGEST_LABEL = 28  # characters


@dataclass(frozen=True)
class Curve:
    """How a column of the history is drawn.

    Attributes:
        column: its name in the history.
        label: its name in the legend.
        factor: the factor of its values.
        level: whether its last value is drawn as a level line, rather than all values as a curve.
    """

    column: str
    label: str
    factor: float = 1.0
    level: bool = False


@dataclass(frozen=True)
class Panel:
    """Curves that share an axis.

    Attributes:
        title: the heading of the panel.
        unit: of the vertical axis.
        curves: the curves that may be drawn.
        show: values that the vertical axis always shows.
        last_values: whether the legend gives the last value of each curve.
    """

    title: str
    unit: str
    curves: tuple[Curve, ...]
    show: tuple[float, ...] = ()
    last_values: bool = False


KNN_CURVES = (
    Curve("knn/z", "z", factor=100.0),
    Curve("knn/mu", "μ", factor=100.0),
    Curve("knn/pixels", "raw pixels", factor=100.0, level=True),
    Curve("knn/untrained_z", "untrained z", factor=100.0, level=True),
)


def draw_curves(rows: Rows, path: str | os.PathLike[str], title: str) -> None:
    """Draw the history of a run into a PNG file.

    Args:
        rows: one mapping per epoch. Drawn over `epoch` are, where present: `objective`, `elbo`, `kl` and
            `log_likelihood/<site>` (nats per image), or else `loss` and `term/<name>`, which add up to it; `knn/z` and
            `knn/mu` and, as level lines, `knn/pixels` and `knn/untrained_z` (shares); `spread`, `cosine`,
            `view_cosine`, `embedding_norm`, `posterior_scale`, `share_at_bound`, `log_density` (nats per image),
            `concentration`, degrees of freedom that are learned (`<part>.df`), `lr` and `images_per_s`. `wait_share` is
            noted beside the last.
        path: the file to write.
        title: the title of the picture.

    Raises:
        UserError: if the file cannot be written.
    """
    save(curves_figure(rows, title), Path(path))


def curves_figure(rows: Rows, title: str) -> Figure:
    """Make the figure that `draw_curves` saves, with axes for each panel that has data."""
    panels = list(_panels_with_data(rows))
    columns = {0: 1, 1: 1, 2: 2, 4: 2}.get(len(panels), 3)
    lines = max(1, math.ceil(len(panels) / columns))
    figure = new_figure(columns * PANEL_SIZE[0], lines * PANEL_SIZE[1] + 0.4, shortened(title, 34 * columns))
    if not panels:
        say_empty(figure, "nothing has been logged yet")
    header_lines = [_header_lines(panel, rows) for panel in panels]
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(lines, columns, place + 1)
        first = place - place % columns
        x = "epoch" if place + columns >= len(panels) else ""
        _draw(axes, panel, rows, x, header=max(header_lines[first : first + columns]))
    _place(figure, lines, columns, max(header_lines, default=0))
    return figure


def _place(figure: Figure, lines: int, columns: int, header: int) -> None:
    """Place the axes by known sizes, in inches: a solver for the layout takes as long as drawing."""
    width, height = figure.get_size_inches()
    above = (HEADER_LINE * (header + 1) + 16) / 72  # title, header and room above them
    left, right, bottom, top = 0.7, 0.14, 0.42, 0.42 + above
    across, between = left + right + 0.05, above + 0.28
    axes_width = (width - left - right - (columns - 1) * across) / columns
    axes_height = (height - top - bottom - (lines - 1) * between) / lines
    figure.set_layout_engine(None)
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        wspace=across / axes_width,
        hspace=between / axes_height,
    )


def _panels(rows: Rows) -> Iterator[Panel]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    sites = [name.partition("/")[2] for name in names if name.startswith("log_likelihood/")]
    if "objective" not in names:
        terms = tuple(Curve(name, name.partition("/")[2]) for name in names if name.startswith("term/"))
        yield Panel("Loss", "", (Curve("loss", "what the optimizer minimizes"),))
        yield Panel("Parts of the loss", "", terms)
    yield Panel("Objective", "nats per image", (Curve("objective", "objective"), Curve("elbo", "ELBO (β = 1)")))
    parts = tuple(Curve(f"log_likelihood/{site}", f"log p({site})") for site in sites)
    yield Panel("Parts of the ELBO", "nats per image", (*parts, Curve("kl", "−KL", factor=-1.0)))
    yield Panel("k-NN accuracy", "%", KNN_CURVES, last_values=True)
    cosines = (Curve("cosine", "cosine of s and target"), Curve("view_cosine", "cosine between views"))
    watch = (Curve("spread", "spread of z"), *cosines)
    yield Panel("Collapse watch", "0 collapsed, 1 spread", watch, show=(0.0, 1.0))
    yield Panel("Embedding norm", "", (Curve("embedding_norm", "mean of ‖z‖ over images"),))
    yield Panel("Posterior scale", "", (Curve("posterior_scale", "mean of σ over images and features"),))
    learned = tuple(Curve(name, name.removesuffix(".df")) for name in names if name.endswith(".df"))
    yield Panel("Degrees of freedom", "ν, learned", learned)
    yield Panel("Log density", "nats per image", (Curve("log_density", "of the other view, predicted"),))
    yield Panel("Concentration", "", (Curve("concentration", "mean κ/(P − 1) over images"),))
    bound = Curve("share_at_bound", "share of σ at either end of its interval", factor=100.0)
    yield Panel("Posterior at a bound", "%", (bound,), show=(0.0, 1.0))
    yield Panel("Learning rate", "", (Curve("lr", f"peak {number(_peak(rows, 'lr'))}"),), show=(0.0,))
    wait = _last(rows, "wait_share")
    note = "training throughput" if wait is None else f"waiting for data: {number(100 * wait)} % of the last epoch"
    yield Panel("Speed", "images/s", (Curve("images_per_s", note),), show=(0.0,))


def _panels_with_data(rows: Rows) -> Iterator[Panel]:
    for panel in _panels(rows):
        curves = tuple(curve for curve in panel.curves if _last(rows, curve.column) is not None)
        if curves:
            yield replace(panel, curves=curves)


def _draw(axes: Axes, panel: Panel, rows: Rows, x_label: str, header: int) -> None:
    handles: list[Line2D] = []
    styles = cycle([(colour, style) for style in CURVE_STYLES for colour in COLOURS])
    level_styles = cycle(LEVEL_STYLES)
    for curve in panel.curves:
        if curve.level:
            height = curve.factor * (_last(rows, curve.column) or 0)
            handles.append(axes.axhline(height, color=FAINT, linewidth=1.2, linestyle=next(level_styles)))
        else:
            x, y = _points(rows, curve)
            colour, style = next(styles)
            marker = "o" if len(x) <= 40 else ""
            handles += axes.plot(x, y, color=colour, linestyle=style, linewidth=1.6, marker=marker, markersize=3)
    for value in panel.show:
        axes.axhline(value, color="none")
    labels = _labels(panel, rows)
    frame(axes, panel.title, panel.unit, x=x_label, lines=header)
    if len(labels) == 1:
        note_in_head(axes, labels[0], header)
    else:
        legend_in_head(axes, handles, labels, header, _legend_columns(labels))
    axes.margins(x=0.03, y=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))


def _labels(panel: Panel, rows: Rows) -> list[str]:
    labels = []
    for curve in panel.curves:
        label = shortened(curve.label, LONGEST_LABEL if len(panel.curves) > 1 else HEADER_WIDTH)
        last = _last(rows, curve.column)
        labels.append(f"{label} {curve.factor * last:.1f}" if panel.last_values and last is not None else label)
    return labels


def _legend_columns(labels: Sequence[str]) -> int:
    """Return the most columns that fit: each is as wide as its longest entry, and filled before the next."""
    for columns in range(len(labels), 1, -1):
        each, longer = divmod(len(labels), columns)
        sizes = [each + 1] * longer + [each] * (columns - longer)
        rest = iter(labels)
        if sum(max(len(label) for label in islice(rest, size)) + ENTRY_WIDTH for size in sizes) <= HEADER_WIDTH:
            return columns
    return 1


def _header_lines(panel: Panel, rows: Rows) -> int:
    labels = _labels(panel, rows)
    return math.ceil(len(labels) / _legend_columns(labels))


def _points(rows: Rows, curve: Curve) -> tuple[list[float], list[float]]:
    """Return epochs and values where the column is filled; a value that is not finite leaves a gap."""
    x, y = [], []
    for place, row in enumerate(rows):
        value = row.get(curve.column)
        if value is not None:
            epoch = row.get("epoch")
            x.append(float(place if epoch is None else epoch))
            y.append(curve.factor * float(value) if math.isfinite(value) else math.nan)
    return x, y


def _last(rows: Rows, column: str) -> float | None:
    for row in reversed(rows):
        value = row.get(column)
        if value is not None and math.isfinite(value):
            return float(value)
    return None


def _peak(rows: Rows, column: str) -> float:
    values = (row.get(column) for row in rows)
    return max((float(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
