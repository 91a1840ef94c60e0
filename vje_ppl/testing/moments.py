"""Checks that a density integrates to one, and that moments agree with its integrals."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from vje_ppl.distributions.kl import closed_form_kl
from vje_ppl.testing import integral
from vje_ppl.testing.density import Density, Unconstrained, axis_of, is_on_sphere, unvalidated
from vje_ppl.testing.draws import ERRORS
from vje_ppl.testing.prior import compare_kl
from vje_ppl.testing.report import Failed, NotRun
from vje_ppl.testing.traced import within

#: Relative error of a quadrature that claims none.
_QUADRATURE = 1e-6


@unvalidated
def integrates_to_one(density: Density) -> None:
    """Check that the density integrates to one over its support: by quadrature, or else by its own draws.

    Quadrature covers one or two free numbers, and the sphere for densities that depend on the angle to the mean alone.
    Draws x give the mean of h(x)/p(x), with h a density of which the integral is known, and its standard error.
    """
    if density.nodes is not None:
        total, error = density.mean_over_nodes(torch.ones_like(density.log_mass))
        if error.max() <= 0.01 or (total - 1).abs().max() > 0.5:
            off = ~((total - 1).abs() <= _QUADRATURE + error)
            if off.any():
                setting = int(off.nonzero()[0])
                raise Failed(
                    f"expected the density to integrate to one over {density.distribution().support}, got "
                    f"{total[setting].item():.6g}, for {density.words(setting)}; correct the normalizer in log_prob."
                )
            return
    made = density.distribution()
    if is_on_sphere(made):
        found = integral.over_sphere_by_draws(made, axis_of(made))
    else:
        found = integral.by_draws(Unconstrained(made))
    within(*found, "the density", "correct the normalizer in log_prob, or the draws in sample: either is off")


@unvalidated
def mean_is_right(density: Density) -> None:
    """Check that the mean agrees with the density's integral, or with draws within five standard errors."""
    stated = _stated(density, "mean")
    _hold(density, "mean", stated, lambda value, log_prob: value, _standard_deviation(density))


@unvalidated
def variance_is_right(density: Density) -> None:
    """Check the variance of each feature, like the mean."""
    stated, mean = _stated(density, "variance"), _stated(density, "mean")
    _hold(density, "variance", stated, lambda value, log_prob: (value - mean).square(), stated)


@unvalidated
def entropy_is_right(density: Density) -> None:
    """Check the entropy, in nats, like the mean."""
    _hold(density, "entropy", _stated(density, "entropy"), lambda value, log_prob: -log_prob, None)


def _stated(density: Density, name: str) -> Tensor:
    try:
        found = getattr(density.distribution(), name)
        found = found() if callable(found) else found
    except (NotImplementedError, AttributeError):
        raise NotRun(f"it has no {name}") from None
    if not found.isfinite().any():
        raise NotRun(f"no {name} is finite at these settings")
    return found.detach()


def _standard_deviation(density: Density) -> Tensor | None:
    """Return the standard deviation from the variance; None without a variance."""
    try:
        return _stated(density, "variance").sqrt()
    except NotRun:
        return None


def _hold(density: Density, name: str, stated: Tensor, function: Any, scale: Tensor | None) -> None:
    """Compare a stated expectation, if finite, with the density or with draws."""
    made = density.distribution()
    shape = (density.settings, *(() if name == "entropy" else made.event_shape))
    if stated.shape != shape:
        raise Failed(f"expected the {name} of shape {shape}, got {tuple(stated.shape)}; expand it.")
    if density.nodes is not None and not is_on_sphere(made):
        log_prob = (density.log_mass - density.nodes.log_volume).detach()
        found, error = density.mean_over_nodes(function(density.nodes.points, log_prob))
        allowed = error + _QUADRATURE * (stated.abs() + (1 if scale is None else scale))
        how = "what the density integrates to"
    else:
        values = function(density.draws, made.log_prob(density.draws)).detach()
        found, error = values.mean(0), values.std(0) / math.sqrt(len(values))
        deviations = (values - found).square()
        uneven = deviations.amax(0) > 0.02 * deviations.sum(0)
        known = torch.ones_like(uneven) if scale is None else scale.isfinite()
        allowed = torch.where(uneven | ~known, torch.inf, ERRORS * error + 1e-9 * (1 + stated.abs()))
        how = "what draws average to"
    finite = stated.isfinite()
    off = finite & ~((found - stated).abs() <= allowed)
    if off.any():
        setting = int(off.nonzero()[0, 0])
        raise Failed(
            f"expected the {name} to be {how}, {found[off][0].item():.7g} ± {allowed[off][0].item():.1g}, got "
            f"{stated[off][0].item():.7g}, for {density.words(setting)}; correct {name}."
        )
    if not (allowed[finite] < torch.inf).any():
        raise NotRun(f"a few draws dominate the {name}")


@unvalidated
def cdf_is_right(density: Density) -> None:
    """Check that the distribution function of a scalar is the density's integral, and `icdf` is its inverse."""
    made = density.distribution()
    if made.event_shape or density.nodes is None:
        raise NotRun("its draws are not scalars")
    mass, points = density.log_mass.exp(), density.nodes.points.reshape(len(density.log_mass), -1)
    below = mass.cumsum(0) - 0.5 * mass
    error = 2e-6 + (mass.sum(0) - 1).abs().max() + mass.diff(dim=0).abs().max() / 6  # twice the leading term
    inner = ((below > 0.01) & (below < 0.99)).any(-1)
    try:
        found = made.cdf(points[inner])
    except NotImplementedError:
        raise NotRun("it has no cdf") from None
    off = ~((found - below[inner]).abs() <= error)
    if off.any():
        row, setting = (int(one) for one in off.nonzero()[0])
        raise Failed(
            f"expected the cdf at {points[inner][row, setting].item():.4g} to be the integral of the density, "
            f"{below[inner][row, setting].item():.7g}, got {found[row, setting].item():.7g}, for "
            f"{density.words(setting)}; correct cdf."
        )
    probability = torch.linspace(0.01, 0.99, 33, dtype=torch.float64).unsqueeze(-1).expand(-1, density.settings)
    try:
        back = made.cdf(made.icdf(probability))
    except NotImplementedError:
        return
    off = ~((back - probability).abs() <= 1e-6)
    if off.any():
        raise Failed(
            f"expected cdf(icdf(q)) = q, got {back[off][0].item():.7g} for q = {probability[off][0].item():.4g}; "
            "correct icdf."
        )


@unvalidated
def kl_is_right(density: Density) -> None:
    """Check that a registered KL is 0 from a distribution to itself, and agrees with draws between two settings."""
    made = density.distribution()
    found = closed_form_kl(made, made)
    if found is None:
        raise NotRun("no KL from it to itself is registered")
    if not found.abs().max() <= 1e-9:
        raise Failed(
            f"expected a KL of 0 from the distribution to itself, got {found.abs().max().item():.4g}; "
            "correct what is registered with register_kl."
        )
    if density.batched:
        compare_kl(made, density.batch({name: one.roll(1, 0) for name, one in density.parameters().items()}))
