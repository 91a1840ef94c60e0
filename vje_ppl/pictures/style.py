"""The look that all pictures share: figures, headings, axes, legends, colours and the numbers along an axis."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import Formatter
from matplotlib.transforms import ScaledTranslation, Transform

from vje_ppl.runs.files import write_atomically

# Okabe and Ito's colours, which stay apart for colour-blind readers
COLOURS = BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
LEVEL_STYLES = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 1, 1, 1)))
INK, FAINT, GREY = "#222222", "#6b6b6b", "#9a9a9a"

SMALL = 8  # points, the font of everything but titles
HEADER_LINE = 12.0  # points, the height of a line in that font
TITLE_PAD = 6.0  # points from the axes to a title with nothing in between

#: Characters of a note per inch.
CHARACTERS = 17


def new_figure(width: float, height: float, title: str, note: str = "") -> Figure:
    """Make a figure of `width` by `height` inches with a title above and a note, wrapped, in faint print below."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    FigureCanvasAgg(figure)
    heading = figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold", color=INK)
    heading.set_parse_math(False)
    if note:
        figure.supxlabel(textwrap.fill(note, int(CHARACTERS * width)), x=0.012, ha="left", fontsize=SMALL, color=FAINT)
    return figure


def say_empty(figure: Figure, text: str) -> None:
    """Say in the middle of a figure why nothing is drawn."""
    figure.text(0.5, 0.4, text, ha="center", color=FAINT)


def frame(
    axes: Axes, title: str = "", unit: str = "", *, x: str = "", y: str = "", grid: str = "y", lines: int = 0
) -> None:
    """Give axes their looks: a head, labels, short numbers, faint lines at the left and below, and a grid.

    Args:
        axes: the axes, whose scales are set already.
        title: stands at the left above the axes.
        unit: stands at the right above them: the unit of the vertical axis, or another remark.
        x: what the horizontal axis shows.
        y: what the vertical axis shows.
        grid: the axis whose ticks have grid lines: `x`, `y`, `both`, or an empty string for neither.
        lines: the number of lines of text, such as a legend, to leave room for below the title.
    """
    head(axes, title, unit, lines)
    axes.set_xlabel(x, fontsize=SMALL, color=FAINT)
    axes.set_ylabel(y, fontsize=SMALL, color=FAINT)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(TickNumbers())
    axes.tick_params(labelsize=SMALL, labelcolor=FAINT, color="#bbbbbb", length=2.5)
    if grid:
        axes.grid(axis=grid, color="#e6e6e6", linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#bbbbbb")


def head(axes: Axes, title: str, unit: str = "", lines: int = 0) -> None:
    """Put a title at the left and a unit at the right above axes, with room for `lines` of text below them."""
    pad = TITLE_PAD + HEADER_LINE * lines
    heading = axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=INK, pad=pad)
    heading.set_parse_math(False)
    axes.set_title(unit, loc="right", fontsize=SMALL, color=FAINT, pad=pad)


def note_in_head(axes: Axes, text: str, lines: int) -> None:
    """Write a line below the title of axes whose head has room for `lines`."""
    note = axes.text(0, 1, text, transform=_below_title(axes, lines), va="top", fontsize=SMALL, color=FAINT)
    note.set_parse_math(False)


def legend_in_head(axes: Axes, handles: Sequence[Artist], labels: Sequence[str], lines: int, columns: int) -> None:
    """Put a legend, where it hides no data, below the title of axes whose head has room for `lines`."""
    below = {"loc": "upper left", "bbox_to_anchor": (0, 1), "bbox_transform": _below_title(axes, lines)}
    close = {"borderpad": 0, "borderaxespad": 0, "labelspacing": 0.3, "handletextpad": 0.5, "columnspacing": 1.2}
    shown = legend(axes, handles=handles, labels=labels, ncols=columns, handlelength=1.8, **below, **close)
    for text in shown.get_texts():
        text.set_parse_math(False)  # a dollar in a site's name starts no formula
        text.set_color(INK)


def legend(of: Axes | Figure, **options: Any) -> Legend:
    """Add a legend without a frame; `options` are those of `Axes.legend`."""
    return of.legend(**{"frameon": False, "fontsize": SMALL} | options)


def names(axes: Axes, labels: Sequence[str], axis: str, rotation: float = 0) -> None:
    """Put names in place of the numbers 0, 1, ... along an axis."""
    side = axes.xaxis if axis == "x" else axes.yaxis
    side.set_ticks(range(len(labels)), [label.replace("$", r"\$") for label in labels])
    for text in side.get_ticklabels():
        text.set(rotation=rotation, color=INK, fontsize=SMALL)
        if rotation:
            text.set(ha="right", rotation_mode="anchor")


def log_ticks(axis: Axis) -> None:
    """Put plain numbers along a logarithmic axis: powers of ten and, where these are few, numbers between them."""
    low, high = sorted(map(float, axis.get_view_interval()))
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for between in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
        ticks = [number * 10.0**power for power in powers for number in between if low <= number * 10.0**power <= high]
        if len(ticks) > 2:
            break
    else:
        ticks = np.geomspace(low, high, 5)[1:4].tolist()
    axis.set_ticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def dot(axes: Axes, mean: float, spread: float | None, height: float, colour: str, marker: str = "o") -> Line2D:
    """Draw a share in percent as a dot, which is returned, with a bar of its spread, if it has any, to either side."""
    if spread is not None:
        ends = [100 * (mean - spread), 100 * (mean + spread)]
        axes.plot(ends, [height, height], color=colour, linewidth=1.4, solid_capstyle="butt")
    (drawn,) = axes.plot(100 * mean, height, marker, color=colour, markersize=5)
    return drawn


def png(figure: Figure, dpi: float = 120) -> bytes:
    """Return a figure on white as the content of a PNG file, with `dpi` dots per inch."""
    picture = io.BytesIO()
    with warnings.catch_warnings():
        # A name may be in a script that the font lacks; a box in its place does no harm
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(picture, format="png", dpi=dpi, facecolor="white")
    return picture.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file.

    Raises:
        UserError: if the file cannot be written.
    """
    write_atomically(path, png(figure))


def shortened(text: str, length: int) -> str:
    """Cut a text to at most `length` characters, with an ellipsis."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def number(value: float) -> str:
    """Format a number with three digits."""
    return f"{value:.3g}".replace("-", "−")


class TickNumbers(Formatter):
    """Format ticks with just enough digits to differ, and without an axis offset."""

    def __call__(self, value: float, position: int | None = None) -> str:
        """Format one number by itself."""
        return number(value)

    def format_ticks(self, values: Iterable[float]) -> list[str]:
        """Format all numbers of an axis in the same notation."""
        values = [float(value) for value in values]
        steps = [abs(after - before) for before, after in pairwise(values)]
        if not steps:
            return [number(value) for value in values]
        plain = 1e-4 <= max(map(abs, values)) < 1e6
        for digits in range(17):
            texts = [f"{value:.{digits}{'f' if plain else 'e'}}" for value in values]
            if all(abs(float(text) - value) <= 0.01 * min(steps) for text, value in zip(texts, values, strict=True)):
                break
        shown = (f"{float(text):,.{digits}f}" if plain else text for text in texts)
        return ["0" if float(text) == 0 else short.replace("-", "−") for text, short in zip(texts, shown, strict=True)]


def _below_title(axes: Axes, lines: int) -> Transform:
    rise = (TITLE_PAD + HEADER_LINE * lines - 4) / 72  # inches
    return axes.transAxes + ScaledTranslation(0, rise, axes.figure.dpi_scale_trans)
