"""Verdicts on the guide: is it right, and could a better guide gain much?"""

from __future__ import annotations

import numpy as np

from vje_ppl.diagnose.posterior.gap import Gap
from vje_ppl.diagnose.posterior.importance import LARGEST_KHAT, is_reliable
from vje_ppl.diagnose.posterior.offsets import ODD_FACTOR, ODD_SHIFT, Offsets
from vje_ppl.diagnose.posterior.problem import Power
from vje_ppl.diagnose.posterior.reference import Comparison, Reference
from vje_ppl.diagnose.report.section import Level, Verdict, level_of

#: Scale over the wanted scale, either way, at which a guide is doubted and refused.
DOUBTED_SCALE, REFUSED_SCALE = 1.25, 1.5

#: Shift of the mean in standard deviations, root mean square over features, at which a guide is doubted and refused.
DOUBTED_SHIFT, REFUSED_SHIFT = 0.3, 0.6

#: The reason of a bad verdict without a number.
NOT_FINITE = "a density or the reference is not finite"

#: Amortization in nats per feature that is always accepted, and its shares of the gap that are doubted and refused.
SMALL_GAP, DOUBTED_SHARE, REFUSED_SHARE = 0.1, 0.5, 0.8


def guide_verdicts(reference: Reference, offsets: Offsets) -> list[Verdict]:
    """Judge the guide.

    Args:
        reference: the problem and its references.
        offsets: systematic errors.
    """
    comparisons = {power: reference.comparison(power) for power in reference.powers}
    own = reference.powers[0]
    return [
        *offset_verdicts(offsets),
        amortization_verdict(own, comparisons[own].gap, reference.problem.dim),
        *(_khat_verdict(power, found, reference) for power, found in comparisons.items()),
        *(_gap_verdict(power, found.gap) for power, found in comparisons.items()),
        moments_verdict(reference, own),
    ]


def offset_verdicts(offsets: Offsets) -> list[Verdict]:
    """Judge whether scale, mean and each feature of the guide are right."""
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
        f"beyond what chance explains."
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
            f"{len(odd)} of {len(offsets.shift)} features differ from the others, as a collapsed feature does: "
            f"{worst}{more}."
        )
    else:
        sentence = f"None of the {len(offsets.shift)} features differs much from the others; none has collapsed."
    return Verdict(
        "Features of the guide",
        Level.BAD if odd else Level.GOOD,
        sentence,
        f"no feature differs from the others by more than a factor of {ODD_FACTOR:g} in scale or {ODD_SHIFT:g} "
        f"standard deviations in mean, or has means {ODD_FACTOR:g} times closer together over images",
    )


def amortization_verdict(power: Power, gap: Gap, dim: int) -> Verdict:
    """Judge whether a better guide of the same view could gain much.

    Args:
        power: the target density.
        gap: of its posteriors, in nats.
        dim: D.
    """
    amortization, total = gap.amortization.mean(), gap.total.mean()
    small = np.isfinite(total) and amortization < SMALL_GAP * dim
    level = Level.GOOD if small else level_of(gap.amortization_share, DOUBTED_SHARE, REFUSED_SHARE)
    said = (
        f"A better guide of the same view could gain {amortization:z.1f} of the {total:z.1f} nats ({share(gap)}) "
        f"between this guide and {power.label}: {amortization / dim:.2g} nats per feature."
    )
    return Verdict(
        "Amortization",
        level,
        said if np.isfinite(total) else _no_gap(power),
        f"below {SMALL_GAP:g} nats per feature, or at most {DOUBTED_SHARE:.0%} of the gap; bad beyond "
        f"{REFUSED_SHARE:.0%}",
    )


def _no_gap(power: Power) -> str:
    return f"The gap to {power.label} is not a finite number: {NOT_FINITE}."


def share(gap: Gap) -> str:
    """Return amortization as a share of the gap."""
    share = gap.amortization_share
    return f"{share:.0%}" if np.isfinite(share) else "no share: the gap is within its error of zero"


def _khat_verdict(power: Power, found: Comparison, reference: Reference) -> Verdict:
    guide, best = (float((~is_reliable(one)).mean()) for one in (found.guide_khat, found.best_khat))
    sees = reference.problem.guide_of is not None
    level = Level.INFORMATION if not sees else Level.GOOD if guide <= 0.1 else Level.BAD
    why = "" if sees else " The guide has not seen the target, so this alone does not make it a bad guide."
    return Verdict(
        f"k-hat, {power.name}",
        level,
        f"Importance weights from the guide to {power.label} have k-hat above {LARGEST_KHAT:g} for {guide:.0%} of the "
        f"images (median {np.median(found.guide_khat):.2f}), those from the best diagonal Gaussian for {best:.0%} "
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
        f"(± {gap.log_evidence_error.mean():.2f} per image from the log evidence).",
    )


def moments_verdict(reference: Reference, power: Power) -> Verdict:
    """Return the mean and scale of the guide beside those of NUTS, without a judgement."""
    sampled, problem = reference.sampled(power), reference.problem
    moved = sampled.scale > 0  # chains that never moved give no scale
    if not moved.any():
        said = f"Not compared: no chain of NUTS moved on {power.label}."
        return Verdict("Guide beside NUTS", Level.INFORMATION, said)
    with np.errstate(over="ignore"):
        ratio = np.exp(np.median(np.log(problem.guide_scale[moved] / sampled.scale[moved])))
        off = np.sqrt(np.square((problem.guide_mean - sampled.mean)[moved] / sampled.scale[moved]).mean())
    return Verdict(
        "Guide beside NUTS",
        Level.INFORMATION,
        f"The mean of {power.label}, which knows the target, lies {off:.1f} of its standard deviations from the "
        f"guide's mean, and the guide's scale is {ratio:.2f} times its scale.",
    )
