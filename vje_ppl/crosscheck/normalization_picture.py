"""The picture of what the Student-t integrates to on the unit sphere."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vje_ppl.crosscheck.normalization import student_t
from vje_ppl.crosscheck.quadrature import log_integral_over_sphere
from vje_ppl.pictures.style import COLOURS, INK, frame, legend, log_ticks, new_figure, save

DFS, WIDTHS = (1.0, 5.0, 30.0), (3, 16, 128, 512)


def draw(path: Path, points: int = 49) -> None:
    """Draw into a PNG file what the isotropic Student-t integrates to on the unit sphere, over ν, D and scale.

    Args:
        path: the file, in a folder that is made if need be.
        points: number of scales on each curve.

    Raises:
        UserError: if the file cannot be written.
    """
    scales = np.geomspace(0.003, 3.0, points)
    title = "What the isotropic Student-t integrates to on the unit sphere"
    figure = new_figure(10.0, 3.8, title, "dashed: a normalized density")
    for number, df in enumerate(DFS):
        axes = figure.add_subplot(1, len(DFS), number + 1)
        axes.axhline(0.0, color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
        for colour, dim in zip(COLOURS, WIDTHS, strict=False):
            loc = np.eye(dim)[0]
            heights = [log_integral_over_sphere(student_t(df, loc, np.full(dim, s)), dim, s) / dim for s in scales]
            axes.semilogx(scales, heights, color=colour, linewidth=1.6, label=f"D = {dim}")
        frame(axes, f"ν = {df:g}", "log Z / D, nats", x="scale σ", grid="both")
        log_ticks(axes.xaxis)
        axes.set_ylim(-2.0, 2.0)
    legend(figure.axes[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure, path)
