"""Pictures of a guide beside its reference."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import norm

from vje_ppl.diagnose.posterior.importance import LARGEST_KHAT
from vje_ppl.diagnose.posterior.offsets import Offsets
from vje_ppl.diagnose.posterior.problem import Power
from vje_ppl.diagnose.posterior.reference import Comparison, Gaussians, Reference
from vje_ppl.pictures.style import BLUE, FAINT, GREEN, INK, ORANGE, PINK, SKY, frame, legend, log_ticks, new_figure

GUIDE, BEST, TRUTH = ORANGE, BLUE, "#8a8f98"


def gap_figure(comparisons: dict[Power, Comparison]) -> Figure:
    """Stack the three parts of the gap in a bar per image, in order of the total."""
    title = "Where the log evidence goes: the gap of the guide, image by image"
    figure = new_figure(9.0, 3.4 * len(comparisons), title)
    panels = figure.subplots(len(comparisons), 1, squeeze=False)[:, 0]
    parts = (("information", SKY), ("amortization", ORANGE), ("family", GREEN))
    for axes, (power, found) in zip(panels, comparisons.items(), strict=True):
        order = np.argsort(found.gap.total)
        below = np.zeros(len(order))
        for name, colour in parts:
            values = np.fmax(getattr(found.gap, name)[order], 0)  # no bar for NaN
            mean = getattr(found.gap, name).mean()
            axes.bar(np.arange(len(order)), values, bottom=below, color=colour, width=0.86, label=f"{name}: {mean:.1f}")
            below += values
        frame(axes, _capital(power.label), "nats; means in the legend", x="images, in order")
        axes.set_xlim(-0.7, len(order) - 0.3)
        axes.set_ylim(top=1.22 * max(below.max(), 1e-9))
        legend(axes, loc="upper left", ncols=3)
    return figure


def bounds_figure(comparisons: dict[Power, Comparison]) -> Figure:
    """Draw the log evidence less the importance-weighted bounds over the number of draws."""
    figure = new_figure(4.5 * len(comparisons), 3.4, "Importance-weighted bounds below the log evidence")
    panels = figure.subplots(1, len(comparisons), squeeze=False)[0]
    for axes, (power, found) in zip(panels, comparisons.items(), strict=True):
        for name, colour, values in (
            ("the guide", GUIDE, found.guide_bounds),
            ("best diagonal Gaussian", BEST, found.best_bounds),
        ):
            sizes = list(values)
            gaps = np.array([found.gap.log_evidence - values[size].mean(0) for size in sizes])
            gaps = np.where(np.isfinite(gaps), gaps, np.nan)
            mean, error = gaps.mean(1), gaps.std(1) / np.sqrt(gaps.shape[1])
            axes.errorbar(sizes, mean, error, color=colour, marker="o", markersize=4, linewidth=1.5, label=name)
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=1.0)
        lack = _finite(found.gap.log_evidence - found.guide_bounds[1].mean(0))
        axes.set_ylim(-0.5, 2 * max(1.0, lack.mean() if len(lack) else 1.0))
        axes.axhline(0, color=FAINT, linewidth=0.8)
        frame(axes, _capital(power.label), "nats below", x="draws K")
        axes.minorticks_off()
        axes.set_xticks(list(found.guide_bounds), [f"{size:,}" for size in found.guide_bounds])
    legend(panels[0], loc="center right")
    return figure


def khat_figure(comparisons: dict[Power, Comparison]) -> Figure:
    """Draw the Pareto k-hat of every image, for the guide and the best Gaussian."""
    figure = new_figure(4.5 * len(comparisons), 3.2, "Pareto k-hat of importance weights, image by image")
    panels = figure.subplots(1, len(comparisons), squeeze=False)[0]
    for axes, (power, found) in zip(panels, comparisons.items(), strict=True):
        for name, colour, values in (
            ("from the guide", GUIDE, found.guide_khat),
            ("from the best diagonal Gaussian", BEST, found.best_khat),
        ):
            axes.plot(np.sort(values), ".", color=colour, markersize=6, label=name)
        axes.axhline(LARGEST_KHAT, color=FAINT, linewidth=1, linestyle=(0, (4, 2)))
        frame(axes, _capital(power.label), f"dashed: {LARGEST_KHAT}", x="images, each kind in order")
    legend(panels[0], loc="upper left")
    return figure


def moments_figure(reference: Reference) -> Figure:
    """Draw means and scales of guide and best Gaussian against those of NUTS, one dot per feature and image."""
    powers = reference.powers
    figure = new_figure(8.6, 3.5 * len(powers), "Means and scales against NUTS, one dot per feature of an image")
    panels = figure.subplots(len(powers), 2, squeeze=False)
    problem = reference.problem
    rng = np.random.default_rng(0)
    total = problem.scale.size
    shown = rng.choice(total, min(total, 1500), replace=False)
    for row, power in zip(panels, powers, strict=True):
        sampled, best = reference.sampled(power), reference.gaussians(power).best
        mean, scale = sampled.mean.ravel()[shown], sampled.scale.ravel()[shown]
        for name, colour, loc, deviation in (
            ("guide", GUIDE, problem.guide_mean, problem.guide_scale),
            ("best diagonal Gaussian", BEST, best.loc[0], best.scale[0]),
        ):
            row[0].plot(mean, loc.ravel()[shown], ".", color=colour, markersize=2.5, alpha=0.5, label=name)
            row[1].plot(scale, deviation.ravel()[shown], ".", color=colour, markersize=2.5, alpha=0.5)
        row[1].set_xscale("log")
        row[1].set_yscale("log")
        for axes, title in zip(row, ("mean", "standard deviation"), strict=True):
            ends = np.array([min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])])
            axes.plot(ends, ends, color=INK, linewidth=0.7)
            frame(axes, _capital(title), power.name, x="NUTS", grid="both")
        log_ticks(row[1].xaxis)
        log_ticks(row[1].yaxis)
    legend(panels[0][0], loc="upper left", markerscale=4)
    return figure


def marginals_figure(reference: Reference, power: Power, names: list[str]) -> Figure:
    """Draw 1-D marginals of three images: NUTS as a histogram, guide and best Gaussian as curves."""
    images, features = _chosen(reference, power)
    figure = new_figure(2.5 * len(features), 2.1 * len(images) + 0.7, f"Marginals under {power.label}")
    panels = figure.subplots(len(images), len(features), squeeze=False)
    sampled, gaussians = reference.sampled(power), reference.gaussians(power)
    for row, image in zip(panels, images, strict=True):
        for axes, feature in zip(row, features, strict=True):
            draws = sampled.latent[image, :, :, feature].ravel()
            _marginal(axes, reference, gaussians, image, feature, draws)
            frame(axes, f"Feature {feature}", names[image], grid="")
            axes.spines["left"].set_visible(False)
    _legend(figure)
    return figure


def pairs_figure(reference: Reference, power: Power, names: list[str]) -> Figure:
    """Draw 2-D marginals of three images, each in its two most correlated features."""
    images, _ = _chosen(reference, power)
    figure = new_figure(3.3 * len(images), 3.7, f"Two features at a time under {power.label}")
    panels = figure.subplots(1, len(images), squeeze=False)[0]
    problem, sampled = reference.problem, reference.sampled(power)
    best = reference.gaussians(power).best
    for axes, image in zip(panels, images, strict=True):
        draws = sampled.latent[image].reshape(-1, problem.dim)
        first, second = _most_correlated(draws)
        axes.plot(draws[:, first], draws[:, second], ".", color=TRUTH, markersize=1.8, alpha=0.35, rasterized=True)
        for colour, mean, scale in (
            (GUIDE, problem.guide_mean[image], problem.guide_scale[image]),
            (BEST, best.loc[0, image], best.scale[0, image]),
        ):
            angle = np.linspace(0, 2 * np.pi, 200)
            for radius, width in ((1.18, 1.2), (2.45, 1.9)):  # half and 95 % of a Gaussian's mass
                across, up = radius * scale[first] * np.cos(angle), radius * scale[second] * np.sin(angle)
                axes.plot(mean[first] + across, mean[second] + up, color=colour, linewidth=width)
        frame(axes, names[image], x=f"feature {first}", y=f"feature {second}", grid="both")
    _legend(figure)
    return figure


def offsets_figure(offsets: Offsets) -> Figure:
    """Draw the scale ratio and the shift of every feature."""
    figure = new_figure(9.0, 3.2, f"The guide beside what {offsets.want}")
    panels = figure.subplots(1, 2)
    places, odd = np.arange(len(offsets.shift)), offsets.odd_features()
    for axes, values, right in zip(panels, (offsets.scale_ratio, offsets.shift), (1.0, 0.0), strict=True):
        axes.plot(places, values, "o", color=GUIDE, markersize=3.5)
        axes.plot(places[odd], values[odd], "o", mfc="none", color=PINK, markersize=10, markeredgewidth=1.6)
        for one in odd:
            axes.annotate(f" feature {one}", (one, values[one]), fontsize=8, color=INK, va="bottom")
        axes.axhline(right, color=INK, linewidth=0.8)
    panels[0].set_yscale("log")
    ratios = _finite(offsets.scale_ratio[offsets.scale_ratio > 0])
    low, high = min(0.4, 0.8 * ratios.min(initial=0.5)), max(2.5, 1.25 * ratios.max(initial=2.0))
    panels[0].set_ylim(low, high)
    band = max(2.0, 1.1 * np.abs(_finite(offsets.shift)).max(initial=0.0))
    panels[1].set_ylim(-band, band)
    panels[0].axhspan(0.8, 1.25, color="#e9eef3", zorder=0)
    panels[1].axhspan(-0.3, 0.3, color="#e9eef3", zorder=0)
    frame(panels[0], "Scale", "guide's over the wanted one", x="feature")
    frame(panels[1], "Mean", "guide's − wanted, in sd", x="feature")
    log_ticks(panels[0].yaxis)
    return figure


def _finite(values: np.ndarray) -> np.ndarray:
    """Return the values that can be drawn."""
    return values[np.isfinite(values)]


def _marginal(
    axes: Axes, reference: Reference, gaussians: Gaussians, image: int, feature: int, draws: np.ndarray
) -> None:
    problem = reference.problem
    curves = (
        (GUIDE, problem.guide_mean[image, feature], problem.guide_scale[image, feature]),
        (BEST, gaussians.best.loc[0, image, feature], gaussians.best.scale[0, image, feature]),
    )
    low, high = draws.min() - 0.05 * np.ptp(draws), draws.max() + 0.05 * np.ptp(draws)
    for _, mean, scale in curves:
        low, high = min(low, mean - 2.5 * scale), max(high, mean + 2.5 * scale)
    axes.hist(draws, bins=40, density=True, color=to_rgba(TRUTH, 0.55))
    at = np.linspace(low, high, 400)
    for colour, mean, scale in curves:
        axes.plot(at, norm.pdf(at, mean, scale), color=colour, linewidth=1.5)
    axes.set_yticks([])
    axes.set_xlim(low, high)


def _chosen(reference: Reference, power: Power) -> tuple[list[int], list[int]]:
    """Choose three images spread over the gap, and four features spread over the guide's scales."""
    order = np.argsort(reference.comparison(power).gap.total)
    images = [int(order[place]) for place in np.unique(np.linspace(0, len(order) - 1, 3).astype(int))]
    by_scale = np.argsort(reference.problem.guide_scale.mean(0))
    features = [int(by_scale[place]) for place in np.unique(np.linspace(0, len(by_scale) - 1, 4).astype(int))]
    return images, features


def _most_correlated(draws: np.ndarray) -> tuple[int, int]:
    if draws.shape[1] == 1:
        return 0, 0
    correlation = np.abs(np.nan_to_num(np.corrcoef(draws.T)))
    np.fill_diagonal(correlation, 0)
    first, second = np.unravel_index(correlation.argmax(), correlation.shape)
    return int(first), int(second)


def _legend(figure: Figure) -> None:
    handles = [
        Patch(color=to_rgba(TRUTH, 0.55), label="NUTS"),
        Line2D([], [], color=GUIDE, label="guide"),
        Line2D([], [], color=BEST, label="best diagonal Gaussian"),
    ]
    legend(figure, handles=handles, ncols=3, loc="outside lower left")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
