"""A picture of what the Student-t integrates to on the unit sphere."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from vje_ppl.crosscheck.normalization import student_t
from vje_ppl.crosscheck.quadrature import log_integral_over_sphere
from vje_ppl.files import write_atomically


def draw(path: Path, points: int = 49) -> None:
    """Draw what the isotropic Student-t on the sphere integrates to, over ν, D and scale, into a PNG file.

    Args:
        path: the file.
        points: scales on each curve.

    Raises:
        UserError: if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from vje_ppl.pictures.style import COLOURS, FAINT, INK

    dfs, widths, scales = (1.0, 5.0, 30.0), (3, 16, 128, 512), np.geomspace(0.003, 3.0, points)
    figure = Figure(figsize=(10.0, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for number, df in enumerate(dfs):
        axes = figure.add_subplot(1, len(dfs), number + 1)
        axes.axhline(0.0, color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
        for colour, dim in zip(COLOURS, widths, strict=False):
            loc = np.eye(dim)[0]
            heights = [log_integral_over_sphere(student_t(df, loc, np.full(dim, s)), dim, s) / dim for s in scales]
            axes.semilogx(scales, heights, color=colour, linewidth=1.6, label=f"D = {dim}")
        axes.set_title(f"ν = {df:g}", loc="left", fontsize=10.5, fontweight="bold", color=INK)
        axes.set_xlabel("scale σ", fontsize=9, color=FAINT)
        axes.tick_params(labelsize=8, labelcolor=FAINT)
        axes.grid(color="#e6e6e6", linewidth=0.7)
        axes.set_ylim(-2.0, 2.0)
        if number == 0:
            axes.set_ylabel("log Z / D (nats a dimension)", fontsize=9, color=FAINT)
            axes.legend(frameon=False, fontsize=8)
    figure.suptitle(
        "What the isotropic Student-t integrates to on the unit sphere; dashed: a normalized density",
        x=0.01,
        ha="left",
        fontsize=11,
        color=INK,
    )
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120, facecolor="white")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, picture.getvalue())
