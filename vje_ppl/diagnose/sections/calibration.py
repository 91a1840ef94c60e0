"""Section: simulation-based calibration."""

from __future__ import annotations

import numpy as np
from arviz_stats.ecdf_utils import get_pointwise_confidence_band, simulate_confidence_bands

from vje_ppl.diagnose.posterior.calibration import Calibration, Ranks, calibrate
from vje_ppl.diagnose.posterior.reference import Reference
from vje_ppl.diagnose.report.section import Level, Picture, Section, Verdict
from vje_ppl.pictures.style import BLUE, FAINT, GREEN, ORANGE, frame, legend, new_figure

#: p-values of all quantities together below which calibration is a caution, and bad.
DOUBTED, REFUSED = 0.01, 0.001

_BAND = 0.99


def calibration_section(reference: Reference) -> Section:
    """Test whether simulated truths rank uniformly among draws of their posteriors.

    Args:
        reference: the problem, and the options of the chains.
    """
    found = calibrate(reference)
    rows = [
        {"draws of": ranks.of, "quantity": name, "p": p, "mean rank": float(ranks.uniform(name).mean())}
        for ranks in found.ranks
        for name, p in ranks.p_values.items()
    ]
    notes = [
        f"{found.simulations} simulations: the likelihood's scale is that of one of the images, s is drawn from the "
        "prior, the observation is drawn from the likelihood and used as drawn, and s is ranked among draws of its "
        "posterior at β = 1. If program and sampler are right, the ranks are uniform.",
    ]
    if found.off_sphere is not None and found.off_sphere > 1e-3:
        notes.append(
            "The direction's likelihood lives in R^D: simulated directions miss the unit sphere by "
            f"{found.off_sphere:.2g} on average and are observed as they are, not projected."
        )
    if found.is_reference:
        notes.append(
            "Draws follow the reference density of the direction, not the subdensity below it that training maximizes, "
            f"so the reference takes its place here. {found.left_out:.0%} of the simulated pairs were left out: "
            "their direction was drawn beyond the antipode, where the reference has no density."
        )
    if reference.problem.guide_of is None:
        notes.append(
            "The guide is not ranked: it sees the source view, not the simulated observation. To rank a guide, give "
            "case=conjugate."
        )
    return Section(
        "calibration",
        "Simulation-based calibration",
        [ranks_verdict(ranks) for ranks in found.ranks],
        [_picture(found)],
        rows,
        notes,
    )


def ranks_verdict(ranks: Ranks) -> Verdict:
    """Judge whether ranks are uniform; NaN among the ranks is bad."""
    p = ranks.p_value
    level = Level.GOOD if p >= DOUBTED else Level.CAUTION if p >= REFUSED else Level.BAD
    worst = min(ranks.p_values, key=lambda name: np.nan_to_num(ranks.p_values[name], nan=-1.0))
    if level == Level.GOOD:
        sentence = f"Truths rank uniformly among draws of {ranks.of}: p = {p:.2g} over {len(ranks.ranks)} quantities."
    else:
        sentence = (
            f"Truths do not rank uniformly among draws of {ranks.of}: p = {p:.2g}, worst in {worst}; {ranks.shape}."
        )
    return Verdict(
        f"Calibration of {ranks.of}",
        level,
        sentence,
        f"p at least {DOUBTED} for all quantities together; bad below {REFUSED}",
    )


def _picture(found: Calibration) -> Picture:
    count = found.simulations
    points = np.linspace(0, 1, 101)[1:-1]
    prob = simulate_confidence_bands(count, 1, points, _BAND, 500, np.random.default_rng(0))
    low, high = get_pointwise_confidence_band(prob, count, points)
    figure = new_figure(4.6 * len(found.ranks) + 0.6, 3.6, "Ranks of simulated truths")
    panels = figure.subplots(1, len(found.ranks), squeeze=False, sharey=True)[0]
    for axes, ranks in zip(panels, found.ranks, strict=True):
        axes.fill_between(points, low - points, high - points, color="#e9eef3", linewidth=0, label=f"{_BAND:.0%} band")
        labelled: set[str] = set()
        for name in ranks.ranks:
            values = np.sort(ranks.uniform(name))
            curve = np.searchsorted(values, points, side="right") / count - points
            if name.startswith("feature"):
                kind, colour, width, alpha = "features", BLUE, 1.0, 0.6
            else:
                kind, colour, width, alpha = name, ORANGE if name == "norm" else GREEN, 1.6, 1.0
            label = None if kind in labelled else kind
            axes.plot(points, curve, color=colour, linewidth=width, alpha=alpha, label=label)
            labelled.add(kind)
        axes.axhline(0, color=FAINT, linewidth=0.8)
        frame(axes, f"among draws of {ranks.of}", f"ECDF − uniform; p = {ranks.p_value:.2g}", x="rank, as a share")
    legend(panels[0], fontsize=7.5, ncols=4, loc="lower center", bbox_to_anchor=(0.5, -0.38))
    shown = " ".join(
        f"Among draws of {ranks.of} they " + ("do." if ranks.p_value >= DOUBTED else f"leave it: {ranks.shape}.")
        for ranks in found.ranks
    )
    return Picture(
        "calibration",
        figure,
        f"Each curve stays inside the band, in which all of a curve lies in {_BAND:.0%} of cases if ranks are uniform.",
        shown,
        "Curves of the difference between the empirical distribution of ranks and the uniform one, around zero, "
        "with a band.",
    )
