"""Predictive checks: do target views follow the program's predictions, given the source view?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from vje_ppl.data.batches import evaluation_views
from vje_ppl.data.selection import at_most
from vje_ppl.diagnose.report.section import Level, Picture, Section, Verdict, enumerated
from vje_ppl.diagnose.run import DiagnosedRun, held_out_images
from vje_ppl.diagnose.sections import predictive_pictures as draw
from vje_ppl.diagnose.statistics.pit import Uniformity, pit_by_rank, simultaneous_band, uniformity
from vje_ppl.diagnose.statistics.predictive_draws import COSINE, Predictive, PredictiveDraws, predictive_draws
from vje_ppl.errors import UserError
from vje_ppl.parallel.randomness import Stream, stream_seed

#: Distances of PIT values from uniform above which a program is doubted and refused.
FAR, TOO_FAR = 0.1, 0.25
#: Share of replicated data sets within which an observed statistic should lie, and the smallest difference that
#: matters.
CENTRAL, MATTERS = 0.99, 0.1

NOTES = (
    "For one pair of random views a and b of each image, s is drawn from the guide given a, and a target from the "
    "run's own likelihood given s. The observed target is ranked among these draws: cross-view PIT. Ranks are uniform "
    "where the program is calibrated across views. The guide has never seen the target, and each latent has only this "
    "one observed pair, so this is not a leave-one-out PIT.",
    "The direction cosine is that of the angle between a target and the mean of the guide given a; the radius is the "
    "target's length.",
    "Replicated data sets hold one draw for each image.",
)
PROJECTED = (
    "The likelihood draws directions off the unit sphere, of lengths {0:.2f} to {2:.2f} (5 to 95 %), median {1:.2f}; "
    "observed directions have length 1. The draws are projected on the sphere, so the cosine is checked under the "
    "projected density and not the one that training maximized."
)
ON_SPHERE = "Directions are drawn as the likelihood has them; nothing is projected."
NO_NUMBER = "Observed or drawn values of {} are not numbers, so nothing is where it is expected."
NEGATIVE = "{:.1f} % of drawn radii are below zero, where no radius lives: the likelihood leaks there."


def predictive_section(diagnosed: DiagnosedRun) -> Section:
    """Rank observed targets among draws from the run's program, and compare data sets of draws with them.

    Raises:
        UserError: for too few images or samples, or a likelihood without draws or without a known site.
    """
    title = "Are targets where the program expects them?"
    options = diagnosed.options.predictive
    if options.images < 2 or options.samples < 1:
        raise UserError(
            f"predictive.images expects at least 2 and predictive.samples at least 1, got {options.images} and "
            f"{options.samples}."
        )
    found = _draws(diagnosed)
    count = len(next(iter(found.statistics.values())).observed)
    rng = np.random.default_rng(stream_seed(diagnosed.seed, Stream.PREDICTIVE_RANKS))
    pit = {name: pit_by_rank(one.drawn, one.observed, rng) for name, one in found.statistics.items()}
    distances = {name: uniformity(values) for name, values in pit.items()}
    verdicts = [pit_verdict(name, one, count) for name, one in distances.items()]
    rows: list[dict[str, Any]] = [
        {
            "statistic": name,
            "pairs of views": count,
            "PIT distance": one.distance,
            "distance by chance, 1 %": one.chance,
            "PIT mean": one.mean,
            "PIT in the middle half": one.middle,
            "covered by 90 % intervals": one.covered,
        }
        for name, one in distances.items()
    ]
    for name, one in found.statistics.items():
        verdict, more = replicated_verdict(name, one, rng)
        verdicts.append(verdict)
        rows += more
    pictures = [
        Picture(
            "cross_view_pit",
            draw.pit_figure(pit, simultaneous_band(count, diagnosed.seed), distances),
            "Bars of one height on the left, a line inside the grey band on the right.",
            " ".join(f"{_shape(name, one)} (distance {one.distance:.2f})." for name, one in distances.items()),
            f"Histograms of PIT values of {enumerated(pit)}, and their distribution functions less the uniform one.",
        ),
        Picture(
            "posterior_predictive",
            draw.replicated_figure(found.statistics),
            "The line of what was observed stays inside the band of what the program replicates.",
            " ".join(_medians(name, one) for name, one in found.statistics.items()),
            f"Distribution of {enumerated(found.statistics)} over the images, beside replicated data sets.",
        ),
    ]
    return Section("predictive", title, verdicts, pictures, rows, [*NOTES, *_reservations(found)])


def pit_verdict(name: str, found: Uniformity, count: int) -> Verdict:
    """Judge whether targets follow the predictions.

    Too wide predictions are a caution, however wide; too narrow ones are bad.

    Args:
        name: the statistic.
        found: the distance of its PIT values from uniform.
        count: number of values.
    """
    near = max(FAR, found.chance)
    if np.isnan(found.distance):
        level, said = Level.BAD, NO_NUMBER.format(name)
        return Verdict(f"Cross-view PIT of {name}", level, said, f"caution above {near:.2g}, bad where not a number")
    if found.distance <= near:
        level, said = Level.GOOD, f"The {name} of targets is where it is expected"
    else:
        misleading = found.distance > max(TOO_FAR, found.chance) and not _is_wide(name, found)
        level, said = Level.BAD if misleading else Level.CAUTION, _shape(name, found)
    return Verdict(
        f"Cross-view PIT of {name}",
        level,
        f"{said}: the ranks of {count} targets are {found.distance:.2f} from uniform, and central 90 % intervals cover "
        f"{100 * found.covered:.0f} % of them.",
        f"caution where PIT values are further than {near:.2g} from uniform (Kolmogorov–Smirnov), bad above "
        f"{max(TOO_FAR, found.chance):.2g} unless the predictions are too wide",
    )


def replicated_verdict(name: str, one: Predictive, rng: np.random.Generator) -> tuple[Verdict, list[dict[str, Any]]]:
    """Judge whether median and interquartile range over images are among those of replicated data sets; and the rows.

    They are used because a heavy-tailed likelihood has no mean.

    Args:
        name: the statistic.
        one: draws and observations.
        rng: spreads a p-value over ties.
    """
    rows, off = [], []
    for what, measure in (("median", _median), ("interquartile range", _spread)):
        observed, replicated = float(measure(one.observed[None])[0]), measure(one.drawn)
        low, middle, high = np.quantile(replicated, [(1 - CENTRAL) / 2, 0.5, (1 + CENTRAL) / 2]).tolist()
        near = abs(observed - middle) <= MATTERS * abs(middle)
        outside = not (low <= observed <= high or near)  # true also for NaN
        if outside:
            off.append(f"{what} {observed:.3g} where {middle:.3g} is expected")
        rows.append(
            {
                "statistic": name,
                "over the images": what,
                "observed": observed,
                "replicated, median": middle,
                "replicated, 0.5 %": low,
                "replicated, 99.5 %": high,
                "p-value": float(1 - pit_by_rank(replicated[:, None], np.array([observed]), rng)[0]),
                "matters": outside,
            }
        )
    said = (
        f"Observed and replicated {name} differ: {enumerated(off)}."
        if off
        else (f"Replicated data sets have the median and the interquartile range of the observed {name}.")
    )
    lost = bool(np.isnan(one.drawn).any() or np.isnan(one.observed).any())
    verdict = Verdict(
        f"Posterior predictive check of {name}",
        Level.BAD if lost else Level.CAUTION if off else Level.GOOD,
        NO_NUMBER.format(name) if lost else said,
        f"caution where median or interquartile range is outside the central {100 * CENTRAL:.0f} % of replicated data "
        f"sets, and off by more than {100 * MATTERS:.0f} %, bad where one is not a number",
    )
    return verdict, rows


def check_held_out(diagnosed: DiagnosedRun) -> None:
    """Refuse a run that has too few images to check predictions with.

    Raises:
        UserError: if there is only one image, or only one is requested.
    """
    if len(held_out_images(diagnosed.data)) < 2:
        raise UserError(
            f"predictive checks expect at least 2 held-out images, but {diagnosed.data.name} has only 1; add images, "
            f"or remove predictive from sections=[...]."
        )
    if diagnosed.options.predictive.images == 1:
        raise UserError("predictive.images expects at least 2 images, got 1.")


@torch.no_grad()
def _draws(diagnosed: DiagnosedRun) -> PredictiveDraws:
    options, evaluated = diagnosed.options.predictive, diagnosed.evaluated
    images = at_most(held_out_images(diagnosed.data), options.images)
    index, sources, targets = [], [], []
    seed = stream_seed(diagnosed.seed, Stream.PREDICTIVE_VIEWS)
    for place, views in evaluation_views(images, evaluated.augment, views=2, seed=seed, device=evaluated.device):
        source, target = (evaluated.embedder.embed(view).float() for view in views[1:])
        index.append(place)
        sources.append(source)
        targets.append(target)
    given = diagnosed.program.guide.infer(torch.cat(sources))
    seed = stream_seed(diagnosed.seed, Stream.PREDICTIVE_DRAWS)
    source = diagnosed.fault.posterior(given)
    return predictive_draws(
        diagnosed.program, source, given, torch.cat(targets), torch.cat(index), options.samples, seed
    )


def _is_wide(name: str, found: Uniformity) -> bool:
    """Return whether predictions are too wide: targets nearer than expected, or radii more in the middle."""
    return found.mean >= 0.5 if name == COSINE else found.middle >= 0.5


def _shape(name: str, found: Uniformity) -> str:
    """Return the shape of the PIT values, in words."""
    if found.distance <= max(FAR, found.chance):
        return f"The {name} is where it is expected"
    if name == COSINE:
        side = (
            "nearer to the source than expected" if _is_wide(name, found) else "further from the source than expected"
        )
        return f"Targets lie {side} in direction"
    if abs(found.mean - 0.5) > FAR:
        return f"Values of {name} are {'larger' if found.mean > 0.5 else 'smaller'} than expected"
    return f"Values of {name} vary {'less' if _is_wide(name, found) else 'more'} than expected"


def _medians(name: str, one: Predictive) -> str:
    return f"Median {name}: {np.median(one.observed):.3g} observed, {np.median(one.drawn):.3g} replicated."


def _median(values: Float64[np.ndarray, "S N"]) -> Float64[np.ndarray, " S"]:
    return np.median(values, axis=-1)


def _spread(values: Float64[np.ndarray, "S N"]) -> Float64[np.ndarray, " S"]:
    low, high = np.quantile(values, [0.25, 0.75], axis=-1)
    return high - low


def _reservations(found: PredictiveDraws) -> list[str]:
    notes = []
    if COSINE in found.statistics:
        notes.append(ON_SPHERE if found.lengths is None else PROJECTED.format(*found.lengths))
    if found.negative > 0:
        notes.append(NEGATIVE.format(100 * found.negative))
    return notes
