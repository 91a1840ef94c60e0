"""Section: whether the ground truth can be trusted."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from vje_ppl.diagnose.posterior.nuts import LARGEST_RHAT, SMALLEST_ESS
from vje_ppl.diagnose.posterior.reference import Reference, Sampled
from vje_ppl.diagnose.report.section import Level, Picture, Section, Verdict
from vje_ppl.pictures.style import COLOURS, FAINT, frame, legend, new_figure

#: Share of images that must have converged for the reference to be good.
ENOUGH = 0.9


def reference_section(reference: Reference, names: list[str]) -> Section:
    """Report R-hat, ESS and divergences of NUTS on every image and target density.

    Args:
        reference: the problem and its chains.
        names: names of the images, for rows and pictures.
    """
    verdicts, rows, samples = [], [], []
    for power in reference.powers:
        sampled = reference.sampled(power)
        samples.append((power.label, sampled))
        verdicts.append(_verdict(power.name, power.label, sampled))
        found = sampled.convergence
        rows += [
            {
                "target": power.name,
                "image": name,
                "rhat": float(found.rhat[n].max()),
                "ess": float(found.ess[n].min()),
                "divergences": int(found.divergences[n]),
                "converged": bool(found.converged[n]),
            }
            for n, name in enumerate(names)
        ]
    options = reference.options
    limits = ", ".join(f"{one.at_limit:.0%}" for _, one in samples)
    return Section(
        "reference",
        "Ground truth: NUTS on every image",
        verdicts,
        [_picture(samples)],
        rows,
        [
            f"{options.chains} chains per image, {options.warmup} transitions to adapt the step size, then "
            f"{options.draws} draws, {options.thin} transitions apart. The likelihood's scale is the trained guide's "
            "for that image, held fixed. Each posterior is sampled in the coordinates of its best diagonal Gaussian, "
            "where chains start at draws of Normal(0, I); the guide has no influence on them.",
            f"A transition takes at most {2**options.max_tree_depth - 1} leapfrog steps, a limit that {limits} of them "
            "reached: that costs effective draws, not correctness.",
            "An image that did not converge stays in every figure and is marked: its row says converged: false.",
        ],
    )


def _verdict(name: str, label: str, sampled: Sampled) -> Verdict:
    found = sampled.convergence
    good = float(found.converged.mean())
    level = Level.GOOD if good >= ENOUGH else Level.CAUTION if good >= 0.5 else Level.BAD
    unconverged = int((~found.converged).sum())
    marked = (
        "none is marked"
        if not unconverged
        else f"{unconverged} did not and {'is' if unconverged == 1 else 'are'} marked"
    )
    return Verdict(
        f"NUTS, {name}",
        level,
        f"{len(found.converged) - unconverged} of {len(found.converged)} images converged on {label}, "
        f"{marked}: largest "
        f"R-hat {found.rhat.max():.3f}, smallest ESS {found.ess.min():.0f}, {found.divergences.sum()} divergences.",
        f"an image counts as sampled with R-hat at most {LARGEST_RHAT}, ESS at least {SMALLEST_ESS:g} and no "
        f"divergence; at least {ENOUGH:.0%} of images",
    )


def _picture(samples: list[tuple[str, Sampled]]) -> Picture:
    figure: Figure = new_figure(9.0, 3.3, "R-hat and effective sample size of every image")
    axes = figure.subplots(1, 2)
    for (label, sampled), colour in zip(samples, COLOURS, strict=False):
        found = sampled.convergence
        for one, values in zip(axes, (found.rhat.max(-1), found.ess.min(-1)), strict=True):
            order = np.argsort(values)
            place = np.arange(len(order))
            bad = ~found.converged[order]
            one.plot(place, values[order], ".", color=colour, markersize=5, label=label)
            one.plot(place[bad], values[order][bad], "o", mfc="none", color=colour, markersize=8)
    frame(axes[0], "R-hat, the worst feature", "at most 1.01", x="images, in order")
    axes[0].axhline(LARGEST_RHAT, color=FAINT, linewidth=1, linestyle=(0, (4, 2)))
    frame(axes[1], "ESS, the worst feature", f"at least {SMALLEST_ESS:g}", x="images, in order")
    axes[1].axhline(SMALLEST_ESS, color=FAINT, linewidth=1, linestyle=(0, (4, 2)))
    axes[1].set_ylim(bottom=0)
    legend(axes[0], fontsize=7.5, loc="upper left")
    converged = [f"{one.convergence.converged.mean():.0%} for {label}" for label, one in samples]
    return Picture(
        "reference",
        figure,
        "Every dot, an image, lies below the dashed line on the left and above it on the right.",
        f"Here {' and '.join(converged)} of the images do, without a divergence; the others are ringed.",
        "Two panels of dots over images in order: the largest R-hat of each image, and its smallest effective sample "
        "size, with the threshold as a dashed line.",
    )
