"""Draws the pictures of the page on the model: `python docs/pictures.py` writes `forward.png` and `geometry.png`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from vje_ppl.distributions import TangentStudentT
from vje_ppl.pictures.style import FAINT, INK, frame, head, legend, new_figure, png
from vje_ppl.program.polar import to_polar

HERE = Path(__file__).parent
SOURCE, TARGET, PLAIN = "#2a6fbb", "#c8553d", "#f3f3f0"


def forward() -> Figure:
    """One conditional direction: what is computed from the source view, and what is observed of the target view."""
    figure = new_figure(9.6, 3.5, "One conditional direction, a → b")
    axes = figure.add_subplot()
    axes.set(xlim=(0, 100), ylim=(0, 34))
    axes.axis("off")
    top, bottom, middle = 24, 7, 15.5
    _box(axes, 5, top, "view a", 9, SOURCE)
    _box(axes, 19.5, top, "encoder f_θ\nz_a", 12, SOURCE)
    _box(axes, 38.5, top, "inference network g_φ\nμ_a,  σ_a", 18, SOURCE)
    _box(axes, 62, top, "latent\ns ~ Normal(μ_a, diag σ_a²)", 21, SOURCE)
    _box(axes, 5, bottom, "view b", 9, TARGET)
    _box(axes, 19.5, bottom, "encoder f_θ\nz_b", 12, TARGET)
    _box(axes, 40, bottom, "polar form\nẑ_b = z_b / ‖z_b‖,  r_b = ‖z_b‖", 21, TARGET)
    _box(axes, 88.5, middle, "Student-t sites\ndirection:  ẑ_b at ŝ, scales σ_a\nradius:  r_b at ‖s‖", 22.5, INK)
    for height, starts in ((top, ((9.5, 13.5), (25.5, 29.5), (47.5, 51.5))), (bottom, ((9.5, 13.5), (25.5, 29.5)))):
        for start, end in starts:
            _arrow(axes, (start, height), (end, height))
    _arrow(axes, (72.5, top - 2), (80, middle + 4.2))
    _arrow(axes, (50.5, bottom), (77.2, middle - 2.5))
    _arrow(axes, (44, top - 4), (77.2, middle), dashed=True)
    axes.text(57, 14.4, "the same variances: no head of their own", fontsize=8, color=FAINT, rotation=-7, ha="center")
    axes.text(29.5, bottom - 6.4, "observed, with no gradient", fontsize=8, color=TARGET, ha="center")
    axes.text(19.5, middle, "the same weights", fontsize=8, color=FAINT, ha="center", va="center")
    axes.text(62, top + 5.2, "KL to the prior, weighted by β", fontsize=8, color=SOURCE, ha="center")
    return figure


def _box(axes: Axes, x: float, y: float, text: str, width: float, color: str) -> None:
    corner = (x - width / 2, y - 4)
    style = "round,pad=0,rounding_size=1"
    axes.add_patch(FancyBboxPatch(corner, width, 8, boxstyle=style, facecolor=PLAIN, edgecolor=color, linewidth=1.3))
    axes.text(x, y, text, ha="center", va="center", fontsize=8.5, color=INK, linespacing=1.5)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], dashed: bool = False) -> None:
    style = {"arrowstyle": "-|>", "mutation_scale": 10, "color": FAINT, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(start, end, linestyle="--" if dashed else "-", **style))


def geometry() -> Figure:
    """Polar decomposition in the plane, and how the loss grows with the residual."""
    figure = new_figure(9.6, 4.4, "Direction and radius, and what a heavy tail does")
    plane, loss = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _draw_plane(plane)
    _draw_loss(loss)
    return figure


def _draw_plane(axes: Axes) -> None:
    latent, target = np.array([1.45, 0.62]), np.array([0.72, 1.7])
    spread = (0.22, 0.1)
    axes.set_aspect("equal")
    axes.set(xlim=(-0.25, 2.0), ylim=(-0.25, 2.0))
    axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor="#999999", linewidth=1))
    locations = {name: to_polar(torch.tensor(vector)) for name, vector in (("s", latent), ("z", target))}
    at = locations["s"].direction
    angle = np.linspace(-0.2, np.pi / 2 + 0.2, 401)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    density = TangentStudentT(torch.tensor(1.0, dtype=torch.float64), at, torch.tensor(spread, dtype=torch.float64))
    height = density.log_prob(torch.tensor(circle)).exp().numpy()
    outer = circle * (1 + 0.3 * height / height.max())[:, None]
    axes.fill(*np.concatenate([outer, circle[::-1]]).T, color=SOURCE, alpha=0.15, linewidth=0)
    axes.plot(*outer.T, color=SOURCE, linewidth=1)
    for vector, color, name in ((latent, SOURCE, "s"), (target, TARGET, "z_b")):
        axes.annotate("", vector, (0, 0), arrowprops={"arrowstyle": "-|>", "color": color, "shrinkA": 0, "shrinkB": 0})
        axes.text(*(vector + 0.05), name, color=color, fontsize=11)
    for name, color, label, shift in (("s", SOURCE, "ŝ", (-0.12, 0.02)), ("z", TARGET, "ẑ_b", (-0.24, -0.16))):
        point = locations[name].direction.numpy()
        axes.plot(*point, "o", color=color, markersize=5)
        axes.text(*(point + shift), label, color=color, fontsize=11)
    arc = np.linspace(*(np.arctan2(vector[1], vector[0]) for vector in (latent, target)), 50)
    axes.plot(0.3 * np.cos(arc), 0.3 * np.sin(arc), color=INK, linewidth=1, linestyle=":")
    axes.text(0.25, 0.26, "θ", color=INK, fontsize=11)
    axes.plot(0, 0, "o", color=INK, markersize=3)
    head(axes, "An embedding is compared twice")
    said = "the unit circle; shaded: the direction's density along it, ν = 1"
    axes.text(0, -0.06, said, transform=axes.transAxes, fontsize=8, color=FAINT)
    axes.axis("off")


def _draw_loss(axes: Axes) -> None:
    residual = torch.linspace(0, 10, 301, dtype=torch.float64)
    for df, color in ((1.0, "#173f6b"), (5.0, SOURCE), (30.0, "#8db8e2")):
        curve = 0.5 * (df + 1) * torch.log1p(residual.square() / df)
        axes.plot(residual, curve, color=color, linewidth=1.8, label=f"ν = {df:g}")
    axes.plot(residual, 0.5 * residual.square(), color=TARGET, linewidth=1.8, linestyle="--", label="Gaussian limit")
    axes.set(xlim=(0, 10), ylim=(0, 20))
    legend(axes, fontsize=9, loc="upper left")
    frame(axes, "− log density above its least value", "nats", x="residual, in scales")


def main() -> None:
    """Write both."""
    for name, figure in (("forward", forward()), ("geometry", geometry())):
        (HERE / f"{name}.png").write_bytes(png(figure))


if __name__ == "__main__":
    main()
