"""The picture of the integrals of directional densities over the unit sphere."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vje_ppl.crosscheck.normalization import student_t, tangent_student_t
from vje_ppl.crosscheck.quadrature import log_integral_over_sphere
from vje_ppl.pictures.style import COLOURS, INK, frame, legend, log_ticks, new_figure, save

DFS, WIDTHS = (1.0, 5.0, 30.0), (3, 16, 128, 512)


def draw(path: Path, points: int = 49) -> None:
    """Draw the integrals over the unit sphere of directional Student-t densities with a single scale to a PNG file.

    The upper row shows the density of R^D, the lower row that of the tangent plane and its reference, for several ν, D
    and scales.

    Args:
        path: the file; its folder is created if missing.
        points: number of scales on each curve.

    Raises:
        UserError: if the file cannot be written.
    """
    scales = np.geomspace(0.003, 3.0, points)
    title = "What directional Student-t densities integrate to on the unit sphere"
    note = "above: polar_student_t; below: polar_tangent_student_t and, dotted, its reference; dashed: normalized"
    figure = new_figure(10.0, 7.2, title, note)
    for place, df in enumerate(DFS, start=1):
        ambient, tangent = (figure.add_subplot(2, len(DFS), place + row * len(DFS)) for row in (0, 1))
        for axes in (ambient, tangent):
            axes.axhline(0.0, color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
        for colour, dim in zip(COLOURS, WIDTHS, strict=False):
            loc = np.eye(dim)[0]
            heights = [log_integral_over_sphere(student_t(df, loc, np.full(dim, s)), dim, s) / dim for s in scales]
            ambient.semilogx(scales, heights, color=colour, linewidth=1.6, label=f"D = {dim}")
            for reference, style in ((False, "solid"), (True, "dotted")):
                heights = [tangent_student_t(df, dim, scale, reference) / dim for scale in scales]
                tangent.semilogx(scales, heights, color=colour, linewidth=1.6, linestyle=style)
        for axes, kind in ((ambient, "of R^D"), (tangent, "tangent")):
            frame(axes, f"{kind}, ν = {df:g}", "log Z / D, nats", x="scale σ", grid="both")
            log_ticks(axes.xaxis)
            axes.set_ylim(-2.0, 2.0)
    legend(figure.axes[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure, path)
