"""The picture of a comparison: k-NN accuracy of each run, with its spread over seeds."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vje_ppl.compare.rows import Row
from vje_ppl.compare.table import Table
from vje_ppl.pictures.curves import HEADER_SIZE
from vje_ppl.pictures.style import COLOURS, FAINT, INK, LEVEL_STYLES, TickNumbers

DOTS = {"z": ("knn/z", "o", COLOURS[0], -0.14), "μ": ("knn/mu", "D", COLOURS[1], 0.14)}
LEVELS = {"raw pixels": ("knn/pixels", LEVEL_STYLES[0]), "untrained z": ("knn/untrained_z", LEVEL_STYLES[1])}
WIDTH, ROW_HEIGHT, MARGIN = 7.5, 0.27, 0.95  # inches
TALLEST = 60.0  # inches
LONGEST_NAME = 44  # characters


def picture(table: Table) -> bytes:
    """The comparison as PNG."""
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        # A run may be named in a script that the font lacks; a box in its place does no harm
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure(table).savefig(drawn, format="png", dpi=120, facecolor="white")
    return drawn.getvalue()


def figure(table: Table) -> Figure:
    """One panel a data set, one line a row of the table, best above."""
    lines = zip(table.labels, table.rows, strict=True)
    panels = [(data, list(panel)) for data, panel in groupby(lines, key=lambda line: str(line[1].leaves.get("data")))]
    height = min(TALLEST, sum(MARGIN + ROW_HEIGHT * len(panel) for _, panel in panels))
    drawn = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    FigureCanvasAgg(drawn)
    grid = drawn.add_gridspec(len(panels), 1, height_ratios=[MARGIN + ROW_HEIGHT * len(panel) for _, panel in panels])
    for place, (data, panel) in enumerate(panels):
        labels, rows = zip(*panel, strict=True)
        _draw(drawn.add_subplot(grid[place]), data, _names(labels), rows)
    return drawn


def _draw(axes: Axes, data: str, names: Sequence[str], rows: Sequence[Row]) -> None:
    handles = [*_draw_levels(axes, rows), *_draw_dots(axes, rows)]
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), labels=names)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)  # a dollar in a run's name is no formula
    pad = 18 if handles else 5
    title = axes.set_title(f"k-NN accuracy on {data}", loc="left", fontsize=10.5, fontweight="bold", color=INK, pad=pad)
    title.set_parse_math(False)
    axes.set_title("%", loc="right", fontsize=HEADER_SIZE, color=FAINT, pad=pad)
    if handles:
        axes.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=len(handles),
            frameon=False,
            fontsize=HEADER_SIZE,
            borderpad=0,
            borderaxespad=0.4,
            handlelength=1.8,
            handletextpad=0.5,
            columnspacing=1.2,
        )
    else:
        axes.text(0.5, 0.5, "no run has k-NN", transform=axes.transAxes, ha="center", va="center", color=FAINT)
    _tidy(axes, bool(handles))


def _draw_dots(axes: Axes, rows: Sequence[Row]) -> list[Line2D]:
    """A dot a run for z and for μ, with a bar of one standard deviation to either side where seeds give one."""
    handles = []
    for name, (metric, marker, colour, shift) in DOTS.items():
        points = [(number, row.statistic(metric)) for number, row in enumerate(rows)]
        found = [(number + shift, value) for number, value in points if value is not None]
        if not found:
            continue
        heights = [height for height, _ in found]
        values = [100 * value.mean for _, value in found]
        for height, value in found:
            if value.spread is not None:
                ends = [100 * (value.mean - value.spread), 100 * (value.mean + value.spread)]
                axes.plot(ends, [height, height], color=colour, linewidth=1.4, solid_capstyle="butt")
        spread = any(value.spread is not None for _, value in found)
        label = f"{name}, ± one standard deviation" if spread else name
        handles += axes.plot(values, heights, marker, color=colour, markersize=5, linestyle="none", label=label)
    return handles


def _draw_levels(axes: Axes, rows: Sequence[Row]) -> list[Line2D]:
    """References as lines beside the runs that they belong to: one line where all have the same."""
    handles = []
    for name, (metric, style) in LEVELS.items():
        levels = [_mean(row, metric) for row in rows]
        drawn: list[Line2D] = []
        for level, together in groupby(enumerate(levels), key=lambda pair: pair[1]):
            numbers = [number for number, _ in together]
            if level is not None:
                ends = [numbers[0] - 0.5, numbers[-1] + 0.5]
                drawn += axes.plot([100 * level] * 2, ends, color=FAINT, linewidth=1.2, linestyle=style)
        if drawn:
            known = {level for level in levels if level is not None}
            drawn[0].set_label(f"{name} {100 * known.pop():.1f}" if len(known) == 1 else name)
            handles.append(drawn[0])
    return handles


def _mean(row: Row, metric: str) -> float | None:
    statistic = row.statistic(metric)
    return None if statistic is None else statistic.mean


def _names(labels: Sequence[str]) -> list[str]:
    """Labels without what all begin with, up to a dash: in a panel of one data set, that is its name."""
    parts = [label.split("-") for label in labels]
    shared = 0
    while len(labels) > 1 and all(len(p) > shared + 1 for p in parts) and len({p[shared] for p in parts}) == 1:
        shared += 1
    names = ["-".join(p[shared:]) for p in parts]
    return [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in names]


def _tidy(axes: Axes, scaled: bool) -> None:
    axes.margins(x=0.05)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(TickNumbers())
    axes.tick_params(axis="x", labelsize=8, labelcolor=FAINT, color="#bbbbbb", length=2.5, labelbottom=scaled)
    axes.tick_params(axis="y", labelsize=8.5, labelcolor=INK, length=0)
    axes.grid(axis="both", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#bbbbbb")
