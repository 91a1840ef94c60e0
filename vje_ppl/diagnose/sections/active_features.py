"""Section: which features are active, and whether scales sit at a bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from matplotlib.figure import Figure
from pyro import poutine

from vje_ppl.data.selection import at_most
from vje_ppl.diagnose.report.section import Level, Picture, Section, Verdict
from vje_ppl.diagnose.run import DiagnosedRun, held_out_images
from vje_ppl.diagnose.statistics.activity import ACTIVE, Activity, activity, feature_kl
from vje_ppl.errors import UserError
from vje_ppl.pictures.style import BLUE, GREY, INK, ORANGE, frame, log_ticks, new_figure
from vje_ppl.program.bounded_scale import AT_BOUND
from vje_ppl.program.moments import moments

#: Share of active features below which a posterior counts as collapsed.
COLLAPSED = 0.5
#: Share of scales at a bound above which the bound rather than the image decides.
STUCK = 0.05
#: Effective rank below this share of D: the means vary in few directions.
FEW_DIRECTIONS = 0.1
#: The most features that a sentence names.
NAMED = 8
PALE_BLUE, PALE_ORANGE = "#b3d4e8", "#f2c9ac"
#: Drawn in place of smaller values, on logarithmic axes.
SMALLEST = 1e-8

NOTES = (
    f"A feature is active where the variance over images of its posterior mean is above {ACTIVE:g} (Burda and others, "
    "2016), in squared units of the embedding.",
    "The effective rank is the exponential of the entropy of the normalized eigenvalues of the posterior means' "
    "covariance; the participation ratio is (Σ λ)² / Σ λ² of the same.",
    "All of it is computed on images without augmentation.",
)
NO_KL = (
    "KL feature by feature is left out: it needs a guide with Normal marginals and a prior with independent features, "
    "and this run has {guide} and {prior}."
)
TOTAL = (
    "KL per feature adds up to {sum:.1f} nats, the KL as trained is {total:.1f}; the rest is the guide's correlations."
)


def active_features_section(diagnosed: DiagnosedRun) -> Section:
    """Report the variance of means, KL per feature, scales at a bound, and directions of the guide's posterior."""
    images = at_most(held_out_images(diagnosed.data), diagnosed.options.features.images)
    if len(images) < 2:
        raise UserError(f"features.images expects at least 2 images to compare, got {len(images)}.")
    found = _Posteriors(diagnosed, images)
    title = "Which features are active?"
    lost = ~(np.isfinite(found.mean) & np.isfinite(found.scale)).all(1)
    if lost.any():
        said = f"Means or scales of {lost.sum()} of {len(lost)} images are not finite, so nothing is compared."
        verdict = Verdict("Active features", Level.BAD, said, "bad where any mean or scale is not finite")
        return Section("features", title, [verdict], notes=NOTES)
    measured = activity(found.mean, found.scale)
    verdicts = [activity_verdict(measured), rank_verdict(measured)]
    bounds = found.share_at_bound
    if bounds is not None:
        verdicts.append(bound_verdict(*bounds))
    kl = found.kl
    notes = [*NOTES]
    if kl is None:
        notes.append(NO_KL.format(guide=found.guide_name, prior=found.prior_name))
    picture = Picture(
        "active_features",
        features_figure(measured, kl),
        "Every feature has its share, and the curve of directions rises slowly; points above the line are active.",
        f"{_count(measured)} features are active"
        + ("" if kl is None else f", KL per feature goes from {kl.mean(0).min():.2f} to {kl.mean(0).max():.2f} nats")
        + f", and the means vary in effectively {measured.effective_rank:.1f} directions.",
        "KL of each feature, the variance of its mean against its posterior variance, and the spectrum of the means.",
    )
    rows = [
        {
            "feature": feature,
            "variance of mean": float(measured.variance[feature]),
            "mean posterior variance": float(measured.uncertainty[feature]),
            "active": bool(measured.active[feature]),
            "KL": None if kl is None else float(kl[:, feature].mean()),
        }
        for feature in range(len(measured.variance))
    ]
    return Section("features", title, verdicts, [picture], rows, notes)


def activity_verdict(measured: Activity) -> Verdict:
    """Judge whether features carry information about the image."""
    idle = np.flatnonzero(~measured.active).tolist()
    share = measured.active.mean()
    level = Level.GOOD if not idle else Level.CAUTION if share >= COLLAPSED else Level.BAD
    names = ", ".join(map(str, idle[:NAMED])) + (" and more" if len(idle) > NAMED else "")
    named = f"; inactive: {names}" if idle else ""
    return Verdict(
        "Active features",
        level,
        f"{_count(measured)} features are active{named}.",
        f"caution where any feature is inactive, bad where fewer than {100 * COLLAPSED:.0f} % of them are active",
    )


def rank_verdict(measured: Activity) -> Verdict:
    """Judge whether the posterior means vary in more than a few directions."""
    dim = len(measured.variance)
    few = not measured.effective_rank >= FEW_DIRECTIONS * dim
    return Verdict(
        "Directions of the posterior means",
        Level.CAUTION if few else Level.GOOD,
        f"The means vary in effectively {measured.effective_rank:.1f} of {dim} directions; participation ratio "
        f"{measured.participation:.1f}.",
        f"caution where the effective rank is below {100 * FEW_DIRECTIONS:.0f} % of the width",
    )


def bound_verdict(low: float, high: float) -> Verdict:
    """Judge whether images rather than the bounds decide the scales.

    Args:
        low: share of scales at the lower bound.
        high: share at the upper bound.
    """
    stuck = not low + high <= STUCK
    return Verdict(
        "Scales at a bound",
        Level.CAUTION if stuck else Level.GOOD,
        f"{100 * low:.1f} % of the scales sit at their lower bound and {100 * high:.1f} % at their upper one.",
        f"caution where more than {100 * STUCK:.0f} % of all scales sit at a bound",
    )


def features_figure(measured: Activity, kl: Float64[np.ndarray, "N D"] | None) -> Figure:
    """Draw the KL of each feature, its variances, and the spectrum of the posterior means.

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
        places, active = np.arange(dim), measured.active[order]
        pale, full = (np.where(active, *pair).tolist() for pair in ((PALE_BLUE, PALE_ORANGE), (BLUE, ORANGE)))
        axes.bar(places, kl.mean(0)[order], width=1, color=pale, linewidth=0, antialiased=False)
        axes.vlines(places, low, high, color=full, linewidth=min(2.0, 100 / dim))
        axes.plot(places, middle, ".", color=INK, markersize=min(3.0, 150 / dim))
        frame(axes, "KL per feature", "nats", x="features by mean; dot and line: median, quartiles")
        axes.set_xlim(-0.6, dim - 0.4)
        axes.set_ylim(bottom=0)
    axes = figure.add_subplot(1, panels, panels - 1)
    for chosen, colour in ((measured.active, BLUE), (~measured.active, ORANGE)):
        across, up = (np.maximum(one[chosen], SMALLEST) for one in (measured.uncertainty, measured.variance))
        axes.scatter(across, up, s=14, color=colour, alpha=0.75, linewidth=0, clip_on=False, zorder=3)
    axes.set(xscale="log", yscale="log")
    axes.axhline(ACTIVE, color=GREY, linewidth=1.2)
    frame(axes, "Variance of the mean", "over images", x="mean posterior variance", grid="both")
    log_ticks(axes.xaxis)
    log_ticks(axes.yaxis)
    axes = figure.add_subplot(1, panels, panels)
    total = measured.spectrum.sum()
    shares = np.concatenate([[0], measured.spectrum.cumsum() / total]) if total > 0 else np.zeros(dim + 1)
    axes.plot([0, dim], [0, 100], color=GREY, linewidth=1)
    axes.plot(np.arange(dim + 1), 100 * shares, color=BLUE, linewidth=1.8)
    axes.axvline(measured.effective_rank, color=BLUE, linewidth=1, linestyle=(0, (3, 2)))
    frame(axes, "Variance in directions", "%", x=f"directions; dashed: effective rank {measured.effective_rank:.1f}")
    axes.set(xlim=(0, dim), ylim=(0, 102))
    return figure


class _Posteriors:
    """The guide's posteriors of a set of images, computed batch by batch."""

    @torch.no_grad()
    def __init__(self, diagnosed: DiagnosedRun, images: Any) -> None:
        guide, model = diagnosed.program.guide, diagnosed.program.model
        infer, bounded = diagnosed.infer, getattr(guide, "bounded_scale", None)
        means, scales, kls, at_bound = [], [], [], []
        for _, prepared in diagnosed.evaluated.prepared(images):
            posterior = infer(prepared)
            mean, scale = moments(posterior)
            means.append(mean.double().cpu())
            scales.append(scale.double().cpu())
            q = poutine.trace(guide).get_trace(posterior, None).nodes["latent"]["fn"]
            p = poutine.trace(model).get_trace(posterior, None).nodes["latent"]["fn"]
            kls.append(feature_kl(q, p))
            self.guide_name, self.prior_name = type(guide).__name__, type(getattr(model, "prior", p)).__name__
            if bounded is not None:
                off = (2 * posterior.scale.log() - bounded.middle) / bounded.half_width
                at_bound.append(
                    torch.stack([(off <= -AT_BOUND).double().mean(-1), (off >= AT_BOUND).double().mean(-1)])
                )
        self.mean: Float64[np.ndarray, "N D"] = torch.cat(means).numpy()
        self.scale: Float64[np.ndarray, "N D"] = torch.cat(scales).numpy()
        known = [one.cpu() for one in kls if one is not None]
        self.kl: Float64[np.ndarray, "N D"] | None = torch.cat(known).numpy() if len(known) == len(kls) else None
        shares = torch.cat(at_bound, 1).mean(1).tolist() if at_bound else None
        self.share_at_bound: tuple[float, float] | None = None if shares is None else (shares[0], shares[1])


def _count(measured: Activity) -> str:
    dim, active = len(measured.active), int(measured.active.sum())
    return f"All {dim}" if active == dim else f"{active} of {dim}"
