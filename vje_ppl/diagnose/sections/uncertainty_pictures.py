"""The pictures of the section on uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vje_ppl.measures.risk_coverage import RiskCoverage
from vje_ppl.pictures.style import (
    BLUE,
    COLOURS,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    frame,
    head,
    log_ticks,
    names,
    new_figure,
)

SCALE = "geometric mean of σ"
#: Images in each row of the gallery.
GALLERY = 10


def corruption_figure(
    scales: Mapping[str, Float64[np.ndarray, "_ N"]],
    severities: Mapping[str, Sequence[float]],
    units: Mapping[str, str],
    examples: Mapping[str, Float[np.ndarray, "_ C S S"]],
    correlations: Mapping[str, float],
) -> Figure:
    """Draw posterior scale against severity in a column per corruption, below an image at every severity.

    Args:
        scales: mean log σ of N images at each level; level 0 has no corruption.
        severities: the severity of each level after level 0.
        units: what a severity measures.
        examples: pixels of one image at every level.
        correlations: mean rank correlation of the scale with severity.
    """
    count, note = len(scales), "line: median of the images; bands: 50 and 90 %"
    figure = new_figure(max(3.1 * count, 4.6), 3.9, "Posterior scale against corruption", note)
    grid = figure.add_gridspec(2, count, height_ratios=(1, 3.2))
    shared: Axes | None = None
    for column, (name, values) in enumerate(scales.items()):
        levels = np.arange(len(values))
        strip = figure.add_subplot(grid[0, column])
        for level, pixels in enumerate(examples[name]):
            _show(strip, pixels, (level - 0.46, level + 0.46, 0, 0.92))
        strip.set(xlim=(-0.5, len(values) - 0.5), ylim=(0, 0.92), aspect="equal")
        strip.set_axis_off()
        head(strip, name, f"rank correlation {correlations[name]:.2f}")
        axes = figure.add_subplot(grid[1, column], sharey=shared)
        shared = shared or axes
        lines = np.exp(np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95], axis=1))
        axes.fill_between(levels, lines[0], lines[4], color=BLUE, alpha=0.12, linewidth=0)
        axes.fill_between(levels, lines[1], lines[3], color=BLUE, alpha=0.25, linewidth=0)
        axes.plot(levels, lines[2], color=BLUE, linewidth=1.8, marker="o", markersize=3.5)
        axes.set_xlim(-0.5, len(values) - 0.5)
        frame(axes, x=units[name], y=SCALE if column == 0 else "")
        names(axes, ["none", *(f"{severity:g}" for severity in severities[name])], "x")
    return figure


def risk_coverage_figure(curve: RiskCoverage, orders: Float64[np.ndarray, "orders N"], k: int) -> Figure:
    """Draw the error of k-NN among the most certain images, beside the best order and random orders.

    Args:
        curve: risk and coverage when images are ordered by posterior scale.
        orders: risks of random orders.
        k: number of neighbours.
    """
    note = f"weighted {k}-NN on embeddings; {len(curve.risk)} images; the area under a curve is the mean of its risks"
    figure = new_figure(6.6, 3.6, "Risk against coverage", note)
    axes = figure.add_subplot()
    coverage = 100 * curve.coverage
    low, high = 100 * np.quantile(orders, [0.05, 0.95], axis=0)
    axes.fill_between(coverage, low, high, color=GREY, alpha=0.2, linewidth=0)
    axes.axhline(100 * curve.random, color=GREY, linewidth=1.2)
    errors = round(curve.random * len(curve.risk))
    best = 100 * np.maximum(np.arange(1, len(curve.risk) + 1) - (len(curve.risk) - errors), 0)
    axes.plot(coverage, best / np.arange(1, len(curve.risk) + 1), color=GREEN, linewidth=1.2)
    axes.plot(coverage, 100 * curve.risk, color=BLUE, linewidth=2)
    top = 100 * max(curve.risk[len(curve.risk) // 20 :].max(), 2.2 * curve.random)
    axes.set(xlim=(0, 100), ylim=(0, min(100, top)))
    frame(axes, "k-NN errors", "errors among the images answered, %", x="most certain images that are answered, %")
    entries = (
        (f"by posterior scale: area {curve.area:.4f}", BLUE),
        (f"random order: {curve.random:.4f}; band: 90 % of them", FAINT),
        (f"errors last, the best there is: {curve.oracle:.4f}", "#00744f"),
    )
    for row, (text, colour) in enumerate(entries):
        axes.text(0.02, 0.95 - 0.085 * row, text, transform=axes.transAxes, color=colour, fontsize=8.5, va="top")
    return figure


def scale_figure(
    inside: Float64[np.ndarray, " N"],
    outside: Mapping[str, Float64[np.ndarray, " _"]],
    name: str,
    aurocs: Mapping[str, float],
) -> Figure:
    """Draw the distribution of the posterior scale on the run's own data and on other data sets.

    Args:
        inside: mean log σ of the run's held-out images.
        outside: the same for other data sets.
        name: the run's data set.
        aurocs: AUROC of telling each data set from the run's own by scale.
    """
    note = f"grey: {name}, {len(inside)} images; in colour: another data set"
    figure = new_figure(max(3.6 * len(outside), 5.2), 2.9, "Posterior scale on other data", note)
    everything = np.concatenate([inside, *outside.values()])
    low, high = np.quantile(everything, [0.002, 0.998])
    edges = np.linspace(low, high if high > low else low + 1e-6, 36)
    for place, (other, values) in enumerate(outside.items()):
        axes = figure.add_subplot(1, len(outside), place + 1)
        for one, colour in ((inside, GREY), (values, COLOURS[1 + place % (len(COLOURS) - 1)])):
            kept = np.exp(np.clip(one, edges[0], edges[-1]))
            axes.hist(kept, np.exp(edges).tolist(), density=True, color=colour, alpha=0.6, linewidth=0)
        axes.set_xscale("log")
        frame(axes, other, f"AUROC {aurocs[other]:.3f}", x=SCALE)
        log_ticks(axes.xaxis)
        axes.set_yticks([])
    return figure


def gallery_figure(
    pixels: Float[np.ndarray, "shown C S S"],
    scale: Float64[np.ndarray, " N"],
    wrong: Bool[np.ndarray, " N"] | None,
    order: Int64[np.ndarray, " N"],
) -> Figure:
    """Show the most certain images above the least certain ones, with a frame around those that k-NN gets wrong.

    Args:
        pixels: values in [0, 1] of the images in the first and last `GALLERY` places of `order`, in that order.
        scale: mean log σ of all images.
        wrong: whether k-NN is wrong about each image; None without labels.
        order: all images, the most certain first.
    """
    each = len(pixels) // 2
    chosen = np.concatenate([order[:each], order[len(order) - each :][::-1]])
    note = "below each image: geometric mean of σ" + ("" if wrong is None else "; framed: k-NN is wrong")
    figure = new_figure(0.86 * each + 0.6, 3.0, "Most and least certain images", note)
    shown = np.concatenate([pixels[:each], pixels[each:][::-1]])
    for place, image in enumerate(chosen):
        axes = figure.add_subplot(2, each, place + 1)
        _show(axes, shown[place], (0, 1, 0, 1))
        is_wrong = wrong is not None and bool(wrong[image])
        for spine in axes.spines.values():
            spine.set(visible=True, color=ORANGE if is_wrong else "#cccccc", linewidth=2.5 if is_wrong else 0.6)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(f"{np.exp(scale[image]):.3f}", fontsize=8, color=ORANGE if is_wrong else INK, labelpad=2)
        if place % each == 0:
            head(axes, "most certain" if place == 0 else "least certain")
    return figure


def _show(axes: Axes, pixels: Float[np.ndarray, "C S S"], extent: tuple[float, float, float, float]) -> None:
    image = pixels.transpose(1, 2, 0)
    if image.shape[-1] == 1:
        axes.imshow(image[..., 0], extent=extent, interpolation="nearest", cmap="gray", vmin=0, vmax=1)
    else:
        axes.imshow(image, extent=extent, interpolation="nearest")
