"""The third oracle: closed forms of every value and gradient, derived independently by hand.

They are evaluated in extended precision. Each result comes with the magnitude of the terms of its formula (`Rounded`);
errors are measured relative to that magnitude.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vje_ppl.crosscheck import quantities as q
from vje_ppl.crosscheck.cases import BETA, Cases
from vje_ppl.crosscheck.closed_form_student_t import (
    diagonal_student_t,
    factorized_student_t,
    student_t,
    tangent_student_t,
)
from vje_ppl.crosscheck.rounded import Rounded, as_rounded, stack
from vje_ppl.crosscheck.variants import FEATURE_WISE_WIDTHS, Variant

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)

#: The smallest radius to divide by; part of the definition of the polar decomposition and of the projected scale.
_SMALLEST_RADIUS = 1e-12


class Polar(NamedTuple):
    """A vector's direction and radius."""

    direction: Rounded
    radius: Rounded


def densities(cases: Cases) -> dict[str, Rounded]:
    """Compute the polar decomposition and single densities, with gradients."""
    vector = as_rounded(cases.embedding)
    polar = to_polar(vector)
    results = {q.POLAR_DIRECTION: polar.direction, q.POLAR_RADIUS: polar.radius}
    results[q.POLAR_GRADIENT] = polar_gradient(
        polar, as_rounded(cases.cotangent), as_rounded(np.ones(vector.shape[:-1]))
    )
    loc, scale, target = (as_rounded(one) for one in (cases.loc, cases.scale[0], cases.target))
    radius_loc, radius_scale, radius_target = (
        as_rounded(one) for one in (cases.radius_loc, cases.radius_scale, cases.radius_target)
    )
    for name, density in (
        (q.DIAGONAL_STUDENT_T, diagonal_student_t(cases.df[0], loc, scale, target)),
        (q.FACTORIZED_STUDENT_T, factorized_student_t(cases.df[0], loc, scale, target)),
        (q.STUDENT_T, student_t(cases.df[0], radius_loc, radius_scale, radius_target)),
    ):
        if name != q.DIAGONAL_STUDENT_T and cases.dim not in FEATURE_WISE_WIDTHS:
            continue
        results[name] = density.value
        gradients = (density.df, density.loc, density.scale, density.target)
        results |= dict(zip(q.gradient(name, *q.DENSITY_ARGUMENTS), gradients, strict=True))
    if cases.dim not in FEATURE_WISE_WIDTHS:
        return results
    rows = [
        diagonal_student_t(np.full(4, df), loc[:4], as_rounded(cases.scale[0, :1]), target[:4]).value
        for df in cases.df[0, :3]
    ]
    results[q.BROADCAST] = stack(rows)
    return results


def program(cases: Cases, variant: Variant) -> dict[str, Rounded]:
    """Compute every site of model and guide, KL and objective, with gradients."""
    mean, posterior_scale, noise = (as_rounded(one) for one in (cases.mean, cases.scale, cases.noise))
    log_scale = as_rounded(np.broadcast_to(cases.log_scale, cases.scale.shape))
    scale = log_scale.exp() if variant.scale == "free" else posterior_scale
    given = as_rounded(cases.latent)
    vector = as_rounded(cases.embedding[::-1])

    site = likelihood(cases, variant, given, scale, vector)
    results = {q.PRIOR: standard_normal(given), q.gradient(q.PRIOR, "latent")[0]: -given}
    standardized = (given - mean) / posterior_scale
    results[q.GUIDE] = (standardized.square() * -0.5 - posterior_scale.log() - _HALF_LOG_TWO_PI).sum()
    slope = standardized / posterior_scale
    by_scale = (standardized.square() - 1.0) / posterior_scale
    results |= dict(zip(q.gradient(q.GUIDE, "latent", "loc", "scale"), (-slope, slope, by_scale), strict=True))
    for name, part in ((q.DIRECTION, site.direction), (q.RADIUS, site.radius)):
        through = Rounded(np.zeros(scale.shape)) if variant.scale != "tied" else part.scale
        gradients = (part.latent, through, part.target.flip(), part.df)
        results[name] = part.value
        results |= dict(zip(q.gradient(name, *q.SITE_ARGUMENTS), gradients, strict=True))
    return results | _objective(cases, variant, mean + posterior_scale * noise, scale, vector)


def tangent_likelihood(
    df: np.ndarray, radius_df: np.ndarray, radius_scale_form: str, latent: Rounded, scale: Rounded, vector: Rounded
) -> tuple[Rounded, Rounded]:
    """Return the values of the polar tangent Student-t likelihood's sites.

    Arguments are as for `polar_likelihood`.
    """
    df, radius_df = (np.broadcast_to(one, latent.shape[:-1]) for one in (df, radius_df))
    location, observed = to_polar(latent), to_polar(vector)
    radius_scale = _radius_scale(radius_scale_form, location.direction * scale)
    direction = tangent_student_t(df, location.direction, scale, observed.direction)
    return direction, student_t(radius_df, location.radius, radius_scale, observed.radius).value


def _radius_scale(form: str, along: Rounded) -> Rounded:
    """Return the scale of the radius, (2, N), from the scales along the latent's direction, (2, N, D)."""
    if form == "projected":
        return along.square().sum().sqrt().clip(_SMALLEST_RADIUS)
    return Rounded(np.ones(along.shape[:-1]))


class SiteTerm(NamedTuple):
    """A site's log density and its gradients; those by `latent` and `target` are by the vectors themselves."""

    value: Rounded
    latent: Rounded
    scale: Rounded
    target: Rounded
    df: Rounded


class Sites(NamedTuple):
    """The two sites of a polar likelihood."""

    direction: SiteTerm
    radius: SiteTerm


def likelihood(cases: Cases, variant: Variant, latent: Rounded, scale: Rounded, vector: Rounded) -> Sites:
    """Return the sites of a variant: the likelihood of `vector` given `latent`, both (2, N, D)."""
    return polar_likelihood(cases.df, cases.radius_df, variant.direction, variant.radius_scale, latent, scale, vector)


def polar_likelihood(
    df: np.ndarray,
    radius_df: np.ndarray,
    direction_form: str,
    radius_scale_form: str,
    latent: Rounded,
    scale: Rounded,
    vector: Rounded,
) -> Sites:
    """Return the polar Student-t likelihood of `vector` given `latent`, both (2, N, D).

    Args:
        df: ν of the direction, shape (2, N) or ().
        radius_df: ν of the radius, shape (2, N) or ().
        direction_form: `joint` or `factorized`.
        radius_scale_form: `unit` or `projected`.
        latent: s.
        scale: the shared scale, shape (2, N, D).
        vector: the observed embedding.
    """
    df, radius_df = (np.broadcast_to(one, latent.shape[:-1]) for one in (df, radius_df))
    location, observed = to_polar(latent), to_polar(vector)
    density = {"joint": diagonal_student_t, "factorized": factorized_student_t}[direction_form]
    direction = density(df, location.direction, scale, observed.direction)
    none = Rounded(np.zeros(location.radius.shape))
    direction_term = SiteTerm(
        direction.value,
        polar_gradient(location, direction.loc, none),
        direction.scale,
        polar_gradient(observed, direction.target, none),
        direction.df,
    )
    flat = Rounded(np.zeros(latent.shape))
    along = location.direction * scale
    radius_scale = _radius_scale(radius_scale_form, along)
    radius = student_t(radius_df, location.radius, radius_scale, observed.radius)
    by_direction, by_scale = flat, flat
    if radius_scale_form == "projected":
        pull = radius.scale[..., None] * along / radius_scale[..., None]
        by_direction, by_scale = pull * scale, pull * location.direction
    radius_term = SiteTerm(
        radius.value,
        polar_gradient(location, by_direction, radius.loc),
        by_scale,
        polar_gradient(observed, flat, radius.target),
        radius.df,
    )
    return Sites(direction_term, radius_term)


def _objective(cases: Cases, variant: Variant, latent: Rounded, scale: Rounded, vector: Rounded) -> dict[str, Rounded]:
    mean, posterior_scale, noise = (as_rounded(one) for one in (cases.mean, cases.scale, cases.noise))
    sites = likelihood(cases, variant, latent, scale, vector)
    log_likelihood = sites.direction.value + sites.radius.value
    by_latent = sites.direction.latent + sites.radius.latent
    by_likelihood_scale = sites.direction.scale + sites.radius.scale
    by_target = sites.direction.target + sites.radius.target
    kl = diagonal_normal_kl(mean, posterior_scale)
    kl_by_scale = posterior_scale - 1.0 / posterior_scale
    results = {q.KL: kl}
    results |= dict(zip(q.gradient(q.KL, "loc", "scale"), (mean, kl_by_scale), strict=True))

    through_noise = by_latent * noise
    likelihood_by_scale = through_noise + by_likelihood_scale if variant.scale == "tied" else through_noise

    def gradients(beta: float, weight: float) -> tuple[Rounded, ...]:
        """Differentiate by the posteriors and embeddings of both views, and by ν of both directions of the pair."""
        return (
            (by_latent - mean * beta) * weight,
            (likelihood_by_scale - kl_by_scale * beta) * weight,
            by_target.flip() * weight,
            sites.direction.df * weight,
            sites.radius.df * weight,
        )

    for pair, name in enumerate(q.ELBO):
        results[name] = (log_likelihood - kl)[pair]
        for label, found in zip(q.gradient(name, *q.ELBO_ARGUMENTS), gradients(1.0, 1.0), strict=True):
            own = 1 - pair if label.endswith("target") else pair  # the target is the other view's embedding
            results[label] = found.only(own)
    objective = log_likelihood - kl * BETA
    results[q.OBJECTIVE] = (objective[0] + objective[1]) * 0.5
    results |= dict(zip(q.gradient(q.OBJECTIVE, *q.ELBO_ARGUMENTS), gradients(BETA, 0.5), strict=True))
    count = objective.value.size * cases.dim
    results[q.LOSS] = Rounded(
        -objective.value.sum() / count, (objective.magnitude + abs(objective.value)).sum() / count
    )
    if variant.scale == "free":
        slopes = by_likelihood_scale * scale * 0.5
        results[q.FREE_SCALE] = slopes.reshape(-1, cases.dim).transpose().sum()
    if variant.scale == "detached":
        results[q.DETACHED] = Rounded(np.zeros(cases.embedding.shape))
    return results


def to_polar(vector: Rounded) -> Polar:
    """Return the direction and the radius."""
    radius = vector.square().sum().sqrt()
    return Polar(vector / radius.clip(_SMALLEST_RADIUS)[..., None], radius)


def polar_gradient(polar: Polar, by_direction: Rounded, by_radius: Rounded) -> Rounded:
    """Turn gradients by direction and radius into the gradient by the vector: (g − ẑ (ẑ · g)) / r + h ẑ."""
    along = (polar.direction * by_direction).sum()[..., None] * polar.direction
    tangential = (by_direction - along) / polar.radius.clip(_SMALLEST_RADIUS)[..., None]
    return tangential + by_radius[..., None] * polar.direction


def standard_normal(value: Rounded) -> Rounded:
    """Return log Normal(value; 0, I)."""
    return (value.square() * -0.5 - _HALF_LOG_TWO_PI).sum()


def diagonal_normal_kl(mean: Rounded, scale: Rounded) -> Rounded:
    """Return KL(Normal(mean, diag scale²) ‖ Normal(0, I))."""
    return ((mean.square() + scale.square() - 1.0) * 0.5 - scale.log()).sum()
