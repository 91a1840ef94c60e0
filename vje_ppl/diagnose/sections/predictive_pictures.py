"""The pictures of predictive checks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure
from scipy.stats import binom

from vje_ppl.diagnose.statistics.pit import Band, Uniformity, distribution_function
from vje_ppl.diagnose.statistics.predictive_draws import COSINE, RADIUS, Predictive
from vje_ppl.pictures.style import BLUE, FAINT, GREY, ORANGE, frame, new_figure

BINS = 20
#: Bins of observed and drawn values, and the share of draws that they span, since tails may be very long.
VALUE_BINS, SPAN = 48, 0.96
AXES = {COSINE: "cosine of the angle to the posterior mean", RADIUS: "length"}


def pit_figure(values: Mapping[str, Float64[np.ndarray, " N"]], band: Band, found: Mapping[str, Uniformity]) -> Figure:
    """Draw PIT values in two panels per statistic: a histogram, and their distribution function less the uniform one.

    Args:
        values: PIT values by statistic.
        band: a simultaneous band of their distribution function.
        found: how far they are from uniform, by statistic.
    """
    count = len(next(iter(values.values())))
    note = f"{count} pairs of views, one an image; grey: where 95 % of calibrated programs stay, right: at all points"
    figure = new_figure(8.6, 2.35 * len(values) + 0.8, "Targets among what was expected of them", note)
    low, high = (binom.ppf(share, count, 1 / BINS) / (count / BINS) for share in (0.025, 0.975))
    for row, (name, pit) in enumerate(values.items()):
        axes = figure.add_subplot(len(values), 2, 2 * row + 1)
        axes.axhspan(low, high, color=GREY, alpha=0.25, linewidth=0)
        weights = np.full(count, BINS / count)
        axes.hist(pit, np.linspace(0, 1, BINS + 1).tolist(), weights=weights, color=BLUE, alpha=0.8)
        axes.axhline(1, color=FAINT, linewidth=1)
        frame(axes, f"PIT of {name}", "density")
        axes.set(xlim=(0, 1), xticks=[0, 0.25, 0.5, 0.75, 1])
        axes = figure.add_subplot(len(values), 2, 2 * row + 2)
        below, above = band.low - band.points, band.high - band.points
        axes.fill_between(band.points, below, above, color=GREY, alpha=0.25, linewidth=0)
        axes.axhline(0, color=FAINT, linewidth=1)
        axes.plot(band.points, distribution_function(pit, band.points) - band.points, color=BLUE, linewidth=1.8)
        frame(axes, "share at or below, less uniform", f"distance {found[name].distance:.2f}")
        axes.set(xlim=(0, 1), xticks=[0, 0.25, 0.5, 0.75, 1])
    return figure


def replicated_figure(statistics: Mapping[str, Predictive]) -> Figure:
    """Draw the observed values of each statistic over all images beside those of replicated data sets."""
    images, samples = len(next(iter(statistics.values())).observed), len(next(iter(statistics.values())).drawn)
    note = f"line: {images} observed targets; band: 90 % of {samples} replicated data sets; longer tails are cut off"
    figure = new_figure(max(4.3 * len(statistics), 5.4), 3.0, "Observed targets and replicated ones", note)
    for place, (name, one) in enumerate(statistics.items()):
        axes = figure.add_subplot(1, len(statistics), place + 1)
        drawn, observed = (values[np.isfinite(values)] for values in one)
        low, high = np.quantile(drawn, [(1 - SPAN) / 2, (1 + SPAN) / 2]) if len(drawn) else (0.0, 1.0)
        low, high = min(low, observed.min(initial=low)), max(high, observed.max(initial=high))
        edges = np.linspace(low, high if high > low else low + 1e-6, VALUE_BINS + 1)
        width = edges[1] - edges[0]
        counts = np.stack([np.histogram(draw, edges)[0] for draw in one.drawn]) / (images * width)
        ends = np.quantile(np.pad(counts, ((0, 0), (0, 1)), mode="edge"), [0.05, 0.95], axis=0)
        axes.fill_between(edges, ends[0], ends[1], step="post", color=ORANGE, alpha=0.35, linewidth=0)
        axes.stairs(np.histogram(one.observed, edges)[0] / (images * width), edges.tolist(), color=BLUE, linewidth=1.8)
        frame(axes, name, "density", x=AXES[name])
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(bottom=0)
    return figure
