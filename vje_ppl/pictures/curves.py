"""The picture of a run: one small panel for each thing worth watching."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from vje_ppl.files import write_atomically
from vje_ppl.pictures.style import COLOURS, FAINT, INK, LEVEL_STYLES, TickNumbers, _number

Rows = Sequence[Mapping[str, Any]]

CURVE_STYLES = ("solid", (0, (1, 1)), (0, (5, 1, 1, 1)))
PANEL_SIZE = (4.0, 2.7)  # inches
HEADER_SIZE = 8  # points, the font between title and axes
HEADER_LINE = 12.0  # points
HEADER_WIDTH = 54  # characters of that font across a panel
ENTRY_WIDTH = 6  # characters that a legend's entry takes beside its label
LONGEST_LABEL = 28  # characters


@dataclass(frozen=True)
class Curve:
    """A column of the history as it is drawn: under which name, times what, and as a level line or a curve."""

    column: str
    label: str
    factor: float = 1.0
    level: bool = False


@dataclass(frozen=True)
class Panel:
    """A title, a unit, curves that share it, and what the vertical axis must show whatever the data."""

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
    """Draws the history of a run into one PNG file.

    Args:
        rows: A mapping an epoch. Drawn over `epoch` are, where present: `objective`, `elbo`, `kl` and
            `log_likelihood/<site>` (nats per image), or else `loss` and `term/<name>`, which add up to it; `knn/z` and
            `knn/mu` and, as level lines, `knn/pixels` and `knn/untrained_z` (shares); `spread`, `cosine`,
            `view_cosine`, `embedding_norm`, `posterior_scale`, `share_at_bound`, `log_density` (nats per image),
            `concentration`, degrees of freedom that are learned (`<part>.df`), `lr` and `images_per_s`. `wait_share` is
            noted beside the last.
        path: The file to write.
        title: What stands above it all.

    Raises:
        UserError: If the file cannot be written.
    """
    picture = io.BytesIO()
    with warnings.catch_warnings():
        # A site may be named in a script that the font lacks; a box in its place does no harm
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        curves_figure(rows, title).savefig(picture, format="png", dpi=120, facecolor="white")
    write_atomically(Path(path), picture.getvalue())


def curves_figure(rows: Rows, title: str) -> Figure:
    """The figure that `draw_curves` saves; one axes for each panel that has data."""
    panels = list(_panels_with_data(rows))
    columns = {0: 1, 1: 1, 2: 2, 4: 2}.get(len(panels), 3)
    lines = max(1, math.ceil(len(panels) / columns))
    size = (columns * PANEL_SIZE[0], lines * PANEL_SIZE[1] + 0.4)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    FigureCanvasAgg(figure)
    heading = figure.suptitle(
        _shortened(title, 34 * columns), x=0.012, ha="left", fontsize=13, fontweight="bold", color=INK
    )
    heading.set_parse_math(False)
    if not panels:
        figure.text(0.5, 0.4, "nothing has been logged yet", ha="center", color=FAINT)
    header_lines = [_header_lines(panel, rows) for panel in panels]
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(lines, columns, number + 1)
        first = number - number % columns
        _draw(axes, panel, rows, header=max(header_lines[first : first + columns]))
        if number + columns >= len(panels):
            axes.set_xlabel("epoch", fontsize=8, color=FAINT)
    return figure


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
    yield Panel("Learning rate", "", (Curve("lr", f"peak {_number(_peak(rows, 'lr'))}"),), show=(0.0,))
    wait = _last(rows, "wait_share")
    note = "training throughput" if wait is None else f"waiting for data: {_number(100 * wait)} % of the last epoch"
    yield Panel("Speed", "images/s", (Curve("images_per_s", note),), show=(0.0,))


def _panels_with_data(rows: Rows) -> Iterator[Panel]:
    for panel in _panels(rows):
        curves = tuple(curve for curve in panel.curves if _last(rows, curve.column) is not None)
        if curves:
            yield replace(panel, curves=curves)


def _draw(axes: Axes, panel: Panel, rows: Rows, header: int) -> None:
    handles = []
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
    _head(axes, panel, rows, handles, header)
    _tidy(axes)


def _head(axes: Axes, panel: Panel, rows: Rows, handles: list[Line2D], header: int) -> None:
    """Title, unit and legend above the axes, where they hide no data."""
    pad = 5 + HEADER_LINE * header
    axes.set_title(panel.title, loc="left", fontsize=10.5, fontweight="bold", color=INK, pad=pad)
    axes.set_title(panel.unit, loc="right", fontsize=HEADER_SIZE, color=FAINT, pad=pad)
    below_title = axes.transAxes + ScaledTranslation(0, (pad - 4) / 72, axes.figure.dpi_scale_trans)
    labels = _labels(panel, rows)
    if len(handles) == 1:
        note = axes.text(0, 1, labels[0], transform=below_title, va="top", fontsize=HEADER_SIZE, color=FAINT)
        note.set_parse_math(False)
        return
    legend = axes.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(0, 1),
        bbox_transform=below_title,
        ncols=_legend_columns(labels),
        frameon=False,
        fontsize=HEADER_SIZE,
        borderpad=0,
        borderaxespad=0,
        labelspacing=0.3,
        handlelength=1.8,
        handletextpad=0.5,
        columnspacing=1.2,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a dollar in a site's name is no formula
        text.set_color(INK)


def _tidy(axes: Axes) -> None:
    axes.margins(x=0.03, y=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(TickNumbers())
    axes.yaxis.set_major_formatter(TickNumbers())
    axes.tick_params(labelsize=8, labelcolor=FAINT, color="#bbbbbb", length=2.5)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#bbbbbb")


def _labels(panel: Panel, rows: Rows) -> list[str]:
    labels = []
    for curve in panel.curves:
        label = _shortened(curve.label, LONGEST_LABEL if len(panel.curves) > 1 else HEADER_WIDTH)
        last = _last(rows, curve.column)
        labels.append(f"{label} {curve.factor * last:.1f}" if panel.last_values and last is not None else label)
    return labels


def _legend_columns(labels: Sequence[str]) -> int:
    """The most columns that fit; a column is as wide as its longest entry, and columns are filled one by one."""
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
    """Where the column is filled; a value that is not finite leaves a gap."""
    x, y = [], []
    for number, row in enumerate(rows):
        value = row.get(curve.column)
        if value is not None:
            epoch = row.get("epoch")
            x.append(float(number if epoch is None else epoch))
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


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
