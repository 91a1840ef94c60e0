"""`contact_sheet.png`: the least and the most usual images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vje_ppl.data.decode import UnreadableImageError
from vje_ppl.errors import printable
from vje_ppl.pictures.style import FAINT, INK, new_figure, number, say_empty
from vje_ppl.score.given import Given
from vje_ppl.score.table import Row

COLUMNS, MOST = 6, 12
_SIDE = 160  # pixels of a thumbnail
_CHARACTERS = 26  # of a line below an image
_LINES = 3


def contact_sheet(images: Given, rows: Sequence[Row], least: Sequence[int], most: Sequence[int], title: str) -> Figure:
    """Draw the least usual images, then the most usual, each with its path and its p-value, or else its score.

    Args:
        images: all images.
        rows: their rows.
        least: places of the least usual images, the least usual first.
        most: places of the most usual images, the most usual first.
        title: above all.
    """
    parts = {"least usual": list(least), "most usual": list(most)}
    lines = {name: max(1, math.ceil(len(places) / COLUMNS)) for name, places in parts.items()}
    note = "by score; p is the share of calibration images, and of the image itself, with at least this score"
    figure = new_figure(2.0 * COLUMNS, 1.0 + 2.5 * sum(lines.values()), title, note)
    if not least and not most:
        say_empty(figure, "no image has a score")
        return figure
    above = 0
    for name, places in parts.items():
        for place, index in enumerate(places):
            axes = figure.add_subplot(sum(lines.values()), COLUMNS, COLUMNS * above + place + 1)
            axes.imshow(_thumbnail(images, index), interpolation="nearest")
            axes.set_axis_off()
            text = axes.text(0.5, -0.03, _below(rows[index]), transform=axes.transAxes, va="top", ha="center")
            text.set(fontsize=6.5, color=FAINT, parse_math=False)
            if place == 0:
                heading = axes.set_title(name, loc="left", fontsize=10.5, fontweight="bold", color=INK)
                heading.set_parse_math(False)
        above += lines[name]
    return figure


def _thumbnail(images: Given, place: int) -> np.ndarray:
    try:
        pixels = images.pixels(place)
    except UnreadableImageError:  # removed since it was scored
        return np.full((_SIDE, _SIDE, 3), 240, dtype=np.uint8)
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((_SIDE, _SIDE))
    return np.asarray(image)


def _below(row: Row) -> str:
    value = f"p = {number(row.p_value)}" if row.p_value is not None else f"score {number(row.score or 0.0)}"
    path = printable(row.path)
    room = _LINES * _CHARACTERS
    path = path if len(path) <= room else f"…{path[1 - room :]}"
    return "\n".join([value, *(path[start : start + _CHARACTERS] for start in range(0, len(path), _CHARACTERS))])
