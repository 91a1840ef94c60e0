"""How all pictures look: colours, headings, axes, and the numbers along them."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import Formatter

from vje_ppl.files import write_atomically

# Okabe and Ito's colours, which stay apart for colour-blind readers
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LEVEL_STYLES = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 1, 1, 1)))
INK, FAINT = "#222222", "#6b6b6b"


#: Of a note's print, an inch.
CHARACTERS = 17


def new_figure(width: float, height: float, title: str, note: str = "") -> Figure:
    """A figure of so many inches with a heading, and a note below it in faint print, in as many lines as it needs."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    FigureCanvasAgg(figure)
    heading = figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold", color=INK)
    heading.set_parse_math(False)
    if note:
        figure.supxlabel(textwrap.fill(note, int(CHARACTERS * width)), x=0.012, ha="left", fontsize=8, color=FAINT)
    return figure


def head(axes: Axes, title: str, unit: str = "") -> None:
    """Title and unit above the axes."""
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=INK)
    axes.set_title(unit, loc="right", fontsize=8, color=FAINT)


def tidy(axes: Axes, grid: str = "y") -> None:
    """Faint axes at the left and below, and grid lines across them."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(TickNumbers())
    axes.tick_params(labelsize=8, labelcolor=FAINT, color="#bbbbbb", length=2.5)
    if grid:
        axes.grid(axis=grid, color="#e6e6e6", linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#bbbbbb")


def names(axes: Axes, labels: Sequence[str], axis: str, rotation: float = 0) -> None:
    """Names in place of numbers along an axis, one a tick."""
    side = axes.xaxis if axis == "x" else axes.yaxis
    side.set_ticks(range(len(labels)), [label.replace("$", r"\$") for label in labels])
    for text in side.get_ticklabels():
        text.set(rotation=rotation, color=INK, fontsize=8)
        if rotation:
            text.set(ha="right", rotation_mode="anchor")


def png(figure: Figure, dpi: float = 120) -> bytes:
    """A figure as the content of a PNG file, on white.

    Args:
        figure: the figure.
        dpi: dots an inch.
    """
    picture = io.BytesIO()
    with warnings.catch_warnings():
        # A class may be named in a script that the font lacks; a box in its place does no harm
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(picture, format="png", dpi=dpi, facecolor="white")
    return picture.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file.

    Raises:
        UserError: if the file cannot be written.
    """
    write_atomically(path, png(figure))


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


class TickNumbers(Formatter):
    """Numbers as short as tells neighbouring ticks apart, without an offset to add in one's head."""

    def __call__(self, value: float, position: int | None = None) -> str:
        """One number by itself."""
        return _number(value)

    def format_ticks(self, values: Iterable[float]) -> list[str]:
        """All numbers of an axis, in one notation."""
        values = [float(value) for value in values]
        steps = [abs(after - before) for before, after in pairwise(values)]
        if not steps:
            return [_number(value) for value in values]
        plain = 1e-4 <= max(map(abs, values)) < 1e6
        for digits in range(17):
            texts = [f"{value:.{digits}{'f' if plain else 'e'}}" for value in values]
            if all(abs(float(text) - value) <= 0.01 * min(steps) for text, value in zip(texts, values, strict=True)):
                break
        shown = (f"{float(text):,.{digits}f}" if plain else text for text in texts)
        return ["0" if float(text) == 0 else short.replace("-", "−") for text, short in zip(texts, shown, strict=True)]
