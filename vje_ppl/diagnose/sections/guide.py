"""Section: how good is the guide, compared with the best possible guide?"""

from __future__ import annotations

import numpy as np

from vje_ppl.diagnose.posterior.importance import LARGEST_KHAT, is_reliable
from vje_ppl.diagnose.posterior.offsets import Offsets
from vje_ppl.diagnose.posterior.problem import Power
from vje_ppl.diagnose.posterior.reference import Comparison, Reference
from vje_ppl.diagnose.report.section import Picture, Section
from vje_ppl.diagnose.sections import guide_pictures
from vje_ppl.diagnose.sections.guide_verdicts import guide_verdicts, moments_verdict, share
from vje_ppl.program.base_measure import bound_note


def guide_section(reference: Reference, offsets: Offsets, names: list[str]) -> Section:
    """Compare the guide with NUTS, the best Gaussians and the log evidence.

    Args:
        reference: the problem and its references.
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
            f"Here the scale is {offsets.overall_scale:.2f} times the best scale, the mean is "
            f"{offsets.overall_shift:.2f} standard deviations off, and "
            f"{'no feature stands out' if not odd else f'{len(odd)} ringed feature(s) stand out'}.",
            "Two panels of dots over features: scale ratio around one, and shift of the mean around zero.",
        ),
        Picture(
            "gap",
            guide_pictures.gap_figure(comparisons),
            "Most of a bar is information, which a guide of the source view cannot have; a better guide "
            "could gain amortization.",
            f"Here amortization takes {gap.amortization.mean():z.1f} nats ({share(gap)}) of the gap to {own.label}.",
            "Stacked bars of information, amortization and family in nats, one bar per image, for each target density.",
        ),
        Picture(
            "bounds",
            guide_pictures.bounds_figure(comparisons),
            "Both fall towards 0 as K grows; the best diagonal Gaussian is almost there; the guide stays lower, "
            "because it does not know the target.",
            f"At K = 1, the ELBO, the guide lies {gap.total.mean():.1f} and the best diagonal Gaussian "
            f"{gap.family.mean():z.1f} nats below.",
            "Curves of the distance of importance-weighted bounds from the log evidence over the number of draws.",
        ),
        Picture(
            "khat",
            guide_pictures.khat_figure(comparisons),
            f"The best diagonal Gaussian lies around the dashed line at {LARGEST_KHAT:g} or below; the guide lies "
            "above where the target adds much.",
            f"Here {np.mean(~is_reliable(comparisons[own].guide_khat)):.0%} of the images are above it for the guide "
            f"and {np.mean(~is_reliable(comparisons[own].best_khat)):.0%} for the best diagonal Gaussian.",
            "Dots of k-hat over images in order, for the guide and for the best diagonal Gaussian, with a dashed line.",
        ),
        Picture(
            "moments",
            guide_pictures.moments_figure(reference),
            "The best diagonal Gaussian follows the diagonal in means, and lies below it in scales where features are "
            "correlated; the guide's means scatter, because the guide does not know the target.",
            moments_verdict(reference, own).sentence,
            "Scatter plots of means and standard deviations of guide and best Gaussian against those of NUTS.",
        ),
        Picture(
            "marginals",
            marginals,
            "The blue curve lies on the grey histogram; the guide's curve must fit all views of the image, so it is "
            "wider and shifted.",
            "Shown are the images with the smallest, the middle and the largest gap, in features from the narrowest "
            "to the widest of the guide's.",
            "Histograms of NUTS draws of three images and four features, with densities of the guide and the "
            "best Gaussian.",
        ),
        Picture(
            "pairs",
            pairs,
            "The blue ellipses, half and 95 % of the mass, lie on the grey cloud; no diagonal Gaussian can follow an "
            "oblique cloud.",
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
        f"With the source view and the likelihood's scale fixed and {problem.targets} target view(s) b of the same "
        "image, over diagonal Gaussians q: information = mean_b max_q ELBO_b(q) − max_q mean_b ELBO_b(q); "
        "amortization = max_q mean_b ELBO_b(q) − mean_b ELBO_b(guide); family = mean_b log evidence_b − mean_b max_q "
        "ELBO_b(q). They add up to the mean KL from the guide to the posteriors.",
        "The shared Gaussian is fitted to these targets only, but the guide must fit all possible targets, so about "
        f"1/{problem.targets} of the information is counted as amortization.",
        "The log evidence comes from importance sampling with a mixture around the best Gaussians; this estimate "
        "is too low on average, and so is family.",
        bound_note(problem.program.base_measure),
    ]
    if len(reference.powers) > 1:
        notes.append(
            f"The run weighs the KL with β = {problem.beta:g}. Its objective is β times the ELBO of prior · "
            "likelihood^(1/β), so the guide is judged by that tempered posterior. It was not trained to fit the "
            "Bayesian posterior, at β = 1."
        )
    if problem.beta == 0:
        notes.append("At β = 0 the objective has no prior, so there is no posterior that the guide was trained to fit.")
    if reference.problem.guide_of is None:
        notes.append(
            f"Scale, mean and features are judged on {offsets.images} images by the single correction, common to all "
            "of them, that would most improve the run's own objective. Only in that check does the likelihood's scale "
            "follow the guide's, as in training."
        )
    return notes
