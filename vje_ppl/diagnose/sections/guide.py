"""Section: how good is the guide, against the best it could be?"""

from __future__ import annotations

import numpy as np

from vje_ppl.diagnose.posterior.gap import Gap
from vje_ppl.diagnose.posterior.importance import LARGEST_KHAT, is_reliable
from vje_ppl.diagnose.posterior.offsets import ODD_FACTOR, ODD_SHIFT, Offsets
from vje_ppl.diagnose.posterior.problem import Power
from vje_ppl.diagnose.posterior.reference import Comparison, Reference
from vje_ppl.diagnose.report.section import Level, Picture, Section, Verdict, level_of
from vje_ppl.diagnose.sections import guide_pictures

#: Scale over the wanted scale, either way, at which a guide is doubted and refused.
DOUBTED_SCALE, REFUSED_SCALE = 1.25, 1.5

#: Shift of the mean in standard deviations, root mean square over features, likewise.
DOUBTED_SHIFT, REFUSED_SHIFT = 0.3, 0.6

#: Why something is bad that has no number.
NOT_FINITE = "densities, or what they want, are not finite"

#: Amortization in nats per feature that goes without saying, and its share of the gap that is doubted and refused.
SMALL_GAP, DOUBTED_SHARE, REFUSED_SHARE = 0.1, 0.5, 0.8


def guide_section(reference: Reference, offsets: Offsets, names: list[str]) -> Section:
    """The guide against NUTS, best Gaussians and log evidence.

    Args:
        reference: the problem and what it is compared with.
        offsets: systematic errors.
        names: of the images.
    """
    comparisons = {power: reference.comparison(power) for power in reference.powers}
    return Section(
        "guide",
        "The guide against the truth",
        guide_verdicts(reference, offsets),
        _pictures(reference, comparisons, offsets, names),
        _rows(reference, comparisons, names),
        _notes(reference, offsets),
    )


def guide_verdicts(reference: Reference, offsets: Offsets) -> list[Verdict]:
    """All judgements of the guide.

    Args:
        reference: the problem and what it is compared with.
        offsets: systematic errors.
    """
    comparisons = {power: reference.comparison(power) for power in reference.powers}
    own = reference.powers[0]
    return [
        *offset_verdicts(offsets),
        amortization_verdict(own, comparisons[own].gap, reference.problem.dim),
        *(_khat_verdict(power, found, reference) for power, found in comparisons.items()),
        *(_gap_verdict(power, found.gap) for power, found in comparisons.items()),
        _moments_verdict(reference, own),
    ]


def offset_verdicts(offsets: Offsets) -> list[Verdict]:
    """Whether scale, mean and each feature of the guide are where they should be."""
    return [_scale_verdict(offsets), _shift_verdict(offsets), _feature_verdict(offsets)]


def _scale_verdict(offsets: Offsets) -> Verdict:
    ratio = offsets.overall_scale
    off = ratio if ratio > 1 else 1 / ratio if ratio else np.inf
    level = level_of(off, DOUBTED_SCALE, REFUSED_SCALE)
    what = "is right" if level == Level.GOOD else "is too narrow" if ratio < 1 else "is too wide"
    said = f"The guide {what}: its scale is {ratio:.2f} times what {offsets.want}."
    return Verdict(
        "Scale of the guide",
        level,
        said if np.isfinite(ratio) else f"The guide's scale cannot be compared: {NOT_FINITE}.",
        f"within a factor of {DOUBTED_SCALE:g}; bad beyond {REFUSED_SCALE:g}",
    )


def _shift_verdict(offsets: Offsets) -> Verdict:
    shift = offsets.overall_shift
    level = level_of(shift, DOUBTED_SHIFT, REFUSED_SHIFT)
    what = "is not shifted" if level == Level.GOOD else "is shifted"
    said = (
        f"The guide's mean {what}: it lies {shift:.2f} of its standard deviations from what {offsets.want}, "
        f"chance taken off."
    )
    return Verdict(
        "Mean of the guide",
        level,
        said if np.isfinite(shift) else f"The guide's mean cannot be compared: {NOT_FINITE}.",
        f"root mean square over features at most {DOUBTED_SHIFT:g}; bad beyond {REFUSED_SHIFT:g}",
    )


def _feature_verdict(offsets: Offsets) -> Verdict:
    odd = offsets.odd_features()
    if odd:
        worst = ", ".join(
            f"feature {one} (scale × {offsets.scale_ratio[one]:.2g}, mean {offsets.shift[one]:+.1f} sd, spread "
            f"over images × {offsets.spread[one]:.2g})"
            for one in odd[:4]
        )
        more = f" and {len(odd) - 4} more" if len(odd) > 4 else ""
        sentence = (
            f"{len(odd)} of {len(offsets.shift)} features are off by themselves, as a collapsed one is: {worst}{more}."
        )
    else:
        sentence = f"None of the {len(offsets.shift)} features is off by itself; none has collapsed beside the others."
    return Verdict(
        "Features of the guide",
        Level.BAD if odd else Level.GOOD,
        sentence,
        f"none beside the others by more than a factor {ODD_FACTOR:g} in scale, {ODD_SHIFT:g} standard "
        "deviations in mean, "
        f"or means {ODD_FACTOR:g} times closer together over images",
    )


def amortization_verdict(power: Power, gap: Gap, dim: int) -> Verdict:
    """Whether a better guide of the same view could gain much.

    Args:
        power: the target density.
        gap: of its posteriors, in nats.
        dim: D.
    """
    amortization, total = gap.amortization.mean(), gap.total.mean()
    small = np.isfinite(total) and amortization < SMALL_GAP * dim
    level = Level.GOOD if small else level_of(gap.amortization_share, DOUBTED_SHARE, REFUSED_SHARE)
    said = (
        f"Of a gap of {total:z.1f} nats to {power.label}, {amortization:z.1f} ({_share(gap)}) could be had by a better "
        f"guide of the same view: {amortization / dim:.2g} nats a feature."
    )
    return Verdict(
        "Amortization",
        level,
        said if np.isfinite(total) else _no_gap(power),
        f"below {SMALL_GAP:g} nats a feature, or at most {DOUBTED_SHARE:.0%} of the gap; bad beyond "
        f"{REFUSED_SHARE:.0%}",
    )


def _no_gap(power: Power) -> str:
    return f"The gap to {power.label} is no number: {NOT_FINITE}."


def _share(gap: Gap) -> str:
    share = gap.amortization_share
    return f"{share:.0%}" if np.isfinite(share) else "no share: the gap is within its error of zero"


def _khat_verdict(power: Power, found: Comparison, reference: Reference) -> Verdict:
    guide, best = (float((~is_reliable(one)).mean()) for one in (found.guide_khat, found.best_khat))
    sees = reference.problem.guide_of is not None
    level = Level.INFORMATION if not sees else Level.GOOD if guide <= 0.1 else Level.BAD
    why = "" if sees else " The guide has not seen the target, so this alone does not condemn it."
    return Verdict(
        f"k-hat, {power.name}",
        level,
        f"Importance weights from the guide to {power.label} have k-hat above {LARGEST_KHAT:g} for {guide:.0%} "
        "of the images "
        f"(median {np.median(found.guide_khat):.2f}), those from the best diagonal Gaussian for {best:.0%} "
        f"(median {np.median(found.best_khat):.2f}).{why}",
        f"k-hat above {LARGEST_KHAT:g}" + ("; at most 10% of the images" if sees else ""),
    )


def _gap_verdict(power: Power, gap: Gap) -> Verdict:
    if not np.isfinite(gap.total).all():
        return Verdict(f"Gap, {power.name}", Level.INFORMATION, _no_gap(power))
    return Verdict(
        f"Gap, {power.name}",
        Level.INFORMATION,
        f"The guide's ELBO lies {gap.total.mean():z.1f} nats below the log evidence of {power.label}: information "
        f"{gap.information.mean():z.1f}, amortization {gap.amortization.mean():z.1f}, family {gap.family.mean():z.1f} "
        f"(± {gap.log_evidence_error.mean():.2f} an image from the log evidence).",
    )


def _moments_verdict(reference: Reference, power: Power) -> Verdict:
    sampled, problem = reference.sampled(power), reference.problem
    moved = sampled.scale > 0  # where chains never moved there is nothing to measure by
    if not moved.any():
        said = f"Not compared: no chain of NUTS moved on {power.label}."
        return Verdict("Guide beside NUTS", Level.INFORMATION, said)
    with np.errstate(over="ignore"):
        ratio = np.exp(np.median(np.log(problem.guide_scale[moved] / sampled.scale[moved])))
        off = np.sqrt(np.square((problem.guide_mean - sampled.mean)[moved] / sampled.scale[moved]).mean())
    return Verdict(
        "Guide beside NUTS",
        Level.INFORMATION,
        f"Given the target, {power.label} has another centre, {off:.1f} of its standard deviations from the "
        "guide's mean, and "
        f"the guide's scale is {ratio:.2f} times its own.",
    )


def _pictures(
    reference: Reference, comparisons: dict[Power, Comparison], offsets: Offsets, names: list[str]
) -> list[Picture]:
    own = reference.powers[0]
    gap = comparisons[own].gap
    odd = offsets.odd_features()
    marginals = guide_pictures.marginals_figure(reference, own, names)
    pairs = guide_pictures.pairs_figure(reference, own, names)
    return [
        Picture(
            "offsets",
            guide_pictures.offsets_figure(offsets),
            "Dots lie in the shaded bands: scale at 1, mean at 0. Few images scatter the means.",
            f"Here the scale is {offsets.overall_scale:.2f} times the wanted one, the mean "
            f"{offsets.overall_shift:.2f} standard "
            f"deviations off, and {'no feature stands out' if not odd else f'{len(odd)} ringed feature(s) stand out'}.",
            "Two panels of dots over features: scale ratio around one, and shift of the mean around zero.",
        ),
        Picture(
            "gap",
            guide_pictures.gap_figure(comparisons),
            "Most of a bar is information, which a guide of the source view cannot have; amortization is what "
            "it could.",
            f"Here amortization takes {gap.amortization.mean():z.1f} nats ({_share(gap)}) of the gap to {own.label}.",
            "Stacked bars of information, amortization and family in nats, one bar an image, for each target density.",
        ),
        Picture(
            "bounds",
            guide_pictures.bounds_figure(comparisons),
            "Both fall towards 0 as K grows; the best diagonal Gaussian is almost there, the guide as far as "
            "it lacks the "
            "target.",
            f"At K = 1, the ELBO, the guide lies {gap.total.mean():.1f} and the best diagonal Gaussian "
            f"{gap.family.mean():z.1f} nats below.",
            "Curves of the distance of importance-weighted bounds from the log evidence over the number of draws.",
        ),
        Picture(
            "khat",
            guide_pictures.khat_figure(comparisons),
            f"The best diagonal Gaussian lies around the dashed line at {LARGEST_KHAT:g} or below; the guide "
            "lies above where "
            "the target adds much.",
            f"Here {np.mean(~is_reliable(comparisons[own].guide_khat)):.0%} of the images are above it for "
            "the guide and "
            f"{np.mean(~is_reliable(comparisons[own].best_khat)):.0%} for the best diagonal Gaussian.",
            "Dots of k-hat over images in order, for the guide and for the best diagonal Gaussian, with a dashed line.",
        ),
        Picture(
            "moments",
            guide_pictures.moments_figure(reference),
            "The best diagonal Gaussian follows the diagonal in means, and lies below it in scales where features are "
            "correlated; the guide's means scatter by what it does not know.",
            _moments_verdict(reference, own).sentence,
            "Scatter plots of means and standard deviations of guide and best Gaussian against those of NUTS.",
        ),
        Picture(
            "marginals",
            marginals,
            "The blue curve lies on the grey histogram; the guide's has to do for all views of the image, and "
            "so is wider and "
            "lies beside it.",
            "Shown are the images with the smallest, the middle and the largest gap, in features from the "
            "narrowest to the "
            "widest of the guide's.",
            "Histograms of NUTS draws of three images and four features, with densities of the guide and the "
            "best Gaussian.",
        ),
        Picture(
            "pairs",
            pairs,
            "The blue ellipses, half and 95 % of the mass, lie on the grey cloud; an oblique cloud is what no diagonal "
            "Gaussian can follow.",
            "Shown are the same images, each in the two features most correlated in its posterior.",
            "Clouds of NUTS draws in two features with ellipses of the guide and the best Gaussian, for three images.",
        ),
    ]


def _rows(
    reference: Reference, comparisons: dict[Power, Comparison], names: list[str]
) -> list[dict[str, str | float | bool]]:
    return [
        {
            "target": power.name,
            "image": name,
            "information": float(found.gap.information[n]),
            "amortization": float(found.gap.amortization[n]),
            "family": float(found.gap.family[n]),
            "log evidence": float(found.gap.log_evidence[n]),
            "guide k-hat": float(found.guide_khat[n]),
            "best k-hat": float(found.best_khat[n]),
            "converged": bool(reference.sampled(power).convergence.converged[n]),
        }
        for power, found in comparisons.items()
        for n, name in enumerate(names)
    ]


def _notes(reference: Reference, offsets: Offsets) -> list[str]:
    problem = reference.problem
    notes = [
        f"With the source view and the likelihood's scale fixed and {problem.targets} target view(s) b of the "
        "same image, "
        "over diagonal Gaussians q: information = mean_b max_q ELBO_b(q) − max_q mean_b ELBO_b(q); "
        "amortization = max_q "
        "mean_b ELBO_b(q) − mean_b ELBO_b(guide); family = mean_b log evidence_b − mean_b max_q ELBO_b(q). "
        "They add up to "
        "the mean KL from the guide to the posteriors.",
        "The shared Gaussian is fitted to these targets where the guide answers for all there could be, so "
        "about one part in "
        f"{problem.targets} of the information counts as amortization.",
        "The log evidence comes from importance sampling with a mixture around the best Gaussians; such an "
        "estimate is low "
        "on average, and family with it.",
    ]
    if len(reference.powers) > 1:
        notes.append(
            f"The run weighs the KL with β = {problem.beta:g}. Its objective is β times the ELBO of prior · "
            "likelihood^(1/β), "
            "so that tempered posterior is what the guide is judged by; the Bayesian one, at β = 1, it was not "
            "asked for."
        )
    if problem.beta == 0:
        notes.append("At β = 0 there is no prior in the objective and so no posterior that the guide was asked for.")
    if reference.problem.guide_of is None:
        notes.append(
            f"Scale, mean and features are judged on {offsets.images} images by the one correction, common to "
            "all of them, "
            "that the run's own objective asks for. In that check alone the likelihood's scale follows the "
            "guide's, as in "
            "training."
        )
    return notes
