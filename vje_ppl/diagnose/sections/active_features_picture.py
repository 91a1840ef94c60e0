"""The picture of which features are active."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from vje_ppl.diagnose.statistics.activity import ACTIVE, Activity
from vje_ppl.pictures.style import COLOURS, FAINT, head, new_figure, tidy

BLUE, RED, GREY = COLOURS[0], COLOURS[1], "#9a9a9a"
PALE_BLUE, PALE_RED = "#b3d4e8", "#f2c9ac"
_SMALLEST = 1e-8  # drawn in place of what is smaller, on logarithmic axes


def features_figure(measured: Activity, kl: Float64[np.ndarray, "N D"] | None) -> Figure:
    """KL of each feature, its variances, and the spectrum of the posterior means.

    Args:
        measured: how features vary over images.
        kl: KL of each image and feature; None leaves the panel out.
    """
    dim = len(measured.variance)
    note = f"{dim} features; orange: inactive ones" if not measured.active.all() else f"{dim} features, all active"
    panels = 2 if kl is None else 3
    figure = new_figure(3.2 * panels, 3.0, "Features of the posterior", note)
    if kl is not None:
        axes = figure.add_subplot(1, panels, 1)
        order = np.argsort(-kl.mean(0), kind="stable")
        low, middle, high = np.quantile(kl[:, order], [0.25, 0.5, 0.75], axis=0)
        colours = np.where(measured.active[order], BLUE, RED).tolist()
        places = np.arange(dim)
        pale = np.where(measured.active[order], PALE_BLUE, PALE_RED).tolist()
        axes.bar(places, kl.mean(0)[order], width=1, color=pale, linewidth=0, antialiased=False)
        axes.vlines(places, low, high, color=colours, linewidth=min(2.0, 100 / dim))
        axes.plot(places, middle, ".", color="#222222", markersize=min(3.0, 150 / dim))
        head(axes, "KL per feature", "nats")
        tidy(axes)
        axes.set_xlim(-0.6, dim - 0.4)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("features by mean; dot and line: median, quartiles", fontsize=8, color=FAINT)
    axes = figure.add_subplot(1, panels, panels - 1)
    for chosen, colour in ((measured.active, BLUE), (~measured.active, RED)):
        across, up = (np.maximum(one[chosen], _SMALLEST) for one in (measured.uncertainty, measured.variance))
        axes.scatter(across, up, s=14, color=colour, alpha=0.75, linewidth=0, clip_on=False, zorder=3)
    axes.set(xscale="log", yscale="log")
    axes.minorticks_off()
    axes.axhline(ACTIVE, color=GREY, linewidth=1.2)
    head(axes, "Variance of the mean", "over images")
    tidy(axes, grid="both")
    _label(axes.xaxis, axes.get_xlim())
    _label(axes.yaxis, axes.get_ylim())
    axes.set_xlabel("mean posterior variance", fontsize=8, color=FAINT)
    axes = figure.add_subplot(1, panels, panels)
    total = measured.spectrum.sum()
    shares = np.concatenate([[0], measured.spectrum.cumsum() / total]) if total > 0 else np.zeros(dim + 1)
    axes.plot([0, dim], [0, 100], color=GREY, linewidth=1)
    axes.plot(np.arange(dim + 1), 100 * shares, color=BLUE, linewidth=1.8)
    axes.axvline(measured.effective_rank, color=BLUE, linewidth=1, linestyle=(0, (3, 2)))
    head(axes, "Variance in directions", "%")
    tidy(axes)
    axes.set(xlim=(0, dim), ylim=(0, 102))
    axes.set_xlabel(f"directions; dashed: effective rank {measured.effective_rank:.1f}", fontsize=8, color=FAINT)
    return figure


def _label(axis: Axis, ends: tuple[float, float]) -> None:
    """Ticks at powers of ten or, where there are fewer than two, at three places between both ends."""
    low, high = np.log10(ends)
    powers = np.arange(np.ceil(low), np.floor(high) + 1)
    ticks = 10.0 ** (powers if len(powers) > 1 else low + (high - low) * np.array([0.1, 0.5, 0.9]))
    axis.set_ticks(ticks.tolist(), [f"{tick:.3g}" for tick in ticks])
