"""Checks of a distribution's draws: they lie in the support, follow the density, and carry the right gradient."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import biject_to

from vje_ppl.testing import integral
from vje_ppl.testing.density import Density, Unconstrained, axis_of, centre_and_spread, is_on_sphere, unvalidated
from vje_ppl.testing.nodes import across
from vje_ppl.testing.report import Failed, NotRun
from vje_ppl.testing.traced import within

#: Standard errors that a mean may be off by, which a Normal exceeds with probability 6e-7.
ERRORS = 5.0

#: √n times the Kolmogorov-Smirnov distance that n draws exceed with the same probability, 2 exp(−2 x²).
_KOLMOGOROV = math.sqrt(-0.5 * math.log(0.5 * 5.7e-7))


@unvalidated
def draws_lie_in_the_support(density: Density) -> None:
    """Check that draws are finite, in the support, and have a finite log-probability, in both precisions."""
    for dtype in (torch.float32, torch.float64):
        made = density.distribution(dtype)
        draws = made.sample((1000,))
        if draws.dtype != dtype:
            raise Failed(f"expected draws in {dtype}, like the parameters, got {draws.dtype}; draw in their dtype.")
        inside = made.support.check(draws) & draws.isfinite().reshape(*draws.shape[:2], -1).all(-1)
        _each(density, inside, f"draws in the support, {made.support}, in {dtype}", "correct sample, or the support")
        finite = made.log_prob(draws).isfinite()
        _each(density, finite, f"finite log-probabilities of draws in {dtype}", "correct log_prob, or sample")


def _each(density: Density, right: Tensor, what: str, advice: str) -> None:
    if not right.all():
        setting = int((~right).any(0).nonzero()[0, 0])
        share = int((~right[:, setting]).sum())
        raise Failed(
            f"expected {what}, got {share} of {len(right)} that are not, for {density.words(setting)}; {advice}."
        )


@unvalidated
def draws_follow_the_density(density: Density) -> None:
    """Check that draws have the distribution function that the density integrates to, or obey Stein's identity.

    By quadrature, where it reaches: the Kolmogorov-Smirnov distance of features, of their sum and of the distance from
    the centre; on the sphere, of the distance from the mean direction, around which draws are as frequent in every
    direction. For more features, by the mean over draws u, in unconstrained space with log density log p, of

        ∂_j log p(u) φ(u_k) + δ_jk φ'(u_k) = 0

    for φ = 1 and φ = tanh of a standardized feature, within five standard errors. Densities that differ in the weights
    of modes far apart look alike to the latter.
    """
    made = density.distribution()
    if density.nodes is not None:
        _kolmogorov_smirnov(density, made)
        if density.is_zonal:
            _symmetric(density, axis_of(made))
    elif is_on_sphere(made):
        integrated = integral.over_sphere_by_draws(made, axis_of(made))
        within(*integrated, "h/p over draws, with h uniform on a cap,", "correct the draws in sample")
    else:
        _stein(density, Unconstrained(made))
        if density.features <= 4:
            advice = "correct the draws in sample, or the normalizer in log_prob"
            with suppress(NotRun):  # Stein's identity applies in any case
                within(*integral.by_draws(Unconstrained(made)), "h/p over draws, with h uniform on a box,", advice)


def _kolmogorov_smirnov(density: Density, made: Any) -> None:
    nodes = density.nodes
    assert nodes is not None
    draws = density.draws
    at_nodes, at_draws = (_functionals(density, made, points) for points in (nodes.points, draws))
    mass = density.log_mass.exp().numpy()
    coarse = nodes.coarse.numpy()
    for name, values in at_nodes.items():
        for setting in range(density.settings):
            drawn = np.sort(at_draws[name][:, setting].numpy())
            known, weight = values[:, setting].numpy(), mass[:, setting]
            expected = _distribution_function(known, weight, drawn)
            unsure = np.abs(expected - _distribution_function(known[coarse], weight[coarse], drawn)).max()
            if unsure > 0.05:
                raise NotRun(f"quadrature cannot resolve the density for {density.words(setting)}")
            below = np.arange(len(drawn)) / len(drawn)
            gap = max((expected - below).max(), (below + 1 / len(drawn) - expected).max())
            allowed = _KOLMOGOROV / math.sqrt(len(drawn)) + unsure
            if not gap <= allowed:
                raise Failed(
                    f"expected the distribution function of {name} in {len(drawn)} draws within {allowed:.2g} of the "
                    f"density's integral, got a distance of {gap:.2g}, for {density.words(setting)}; correct "
                    "sample, or the shape of the density in log_prob."
                )


def _symmetric(density: Density, axis: Tensor) -> None:
    """Check that draws are symmetric around their axis, in mean and mean square."""
    dim = axis.shape[-1]
    sideways = density.draws - (density.draws * axis).sum(-1, keepdim=True) * axis
    for _ in range(4):
        step = (sideways * across(axis)).sum(-1)
        for name, moment in (("mean", step), ("mean square", step.square() - sideways.square().sum(-1) / (dim - 1))):
            error = moment.std(0) / math.sqrt(len(moment))
            off = moment.mean(0).abs() > ERRORS * error + 1e-9
            if off.any():
                raise Failed(
                    f"expected the {name} of draws along all directions perpendicular to their axis to be equal, got a "
                    f"difference "
                    f"of {moment.mean(0)[off][0].item():.2g} ± {error[off][0].item():.2g}, for "
                    f"{density.words(int(off.nonzero()[0]))}; draw the tangent uniformly in sample."
                )


def _functionals(density: Density, made: Any, points: Tensor) -> dict[str, Tensor]:
    """Return one number per point, shape (M, N), by name."""
    if density.is_zonal:
        return {"the squared distance from the mean direction": (points - axis_of(made)).square().sum(-1)}
    flat, drawn = (one.reshape(*one.shape[:2], -1) for one in (points, density.draws[:2000]))
    centre, spread = centre_and_spread(drawn)
    standard = (flat - centre) / spread
    if standard.shape[-1] == 1:
        return {"the value": standard[..., 0]}
    found = {f"feature {feature}": standard[..., feature] for feature in range(standard.shape[-1])}
    return found | {"the sum of features": standard.sum(-1), "the distance from the centre": standard.norm(dim=-1)}


def _distribution_function(values: np.ndarray, mass: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the share of the mass below each number, counting half of the mass at the number itself."""
    order = np.argsort(values)
    values, first = np.unique(values[order], return_index=True)
    upper = np.cumsum(mass[order])[np.append(first[1:], len(order)) - 1]
    lower = np.append(0.0, upper[:-1])
    return np.interp(at, values, 0.5 * (lower + upper) / upper[-1])


def _stein(density: Density, free: Unconstrained) -> None:
    numbers = free.free(density.draws[:10_000]).requires_grad_()
    (score,) = torch.autograd.grad(free.log_prob(numbers).sum(), numbers)
    centre, spread = centre_and_spread(numbers.detach())
    standard, score = ((numbers.detach() - centre) / spread).tanh(), score * spread
    if not score.isfinite().all():
        raise Failed("expected a finite gradient of the log-probability at draws, got NaN or infinity; see log_prob.")
    count = len(score)
    for name, factor, slope in (("a constant", torch.ones_like(standard[..., :1]), None), ("tanh", standard, 1)):
        # (N, D, K): the mean over draws of score_j φ_k, and of its square.
        first = torch.einsum("mnj,mnk->njk", score, factor) / count
        second = torch.einsum("mnj,mnk->njk", score.square(), factor.square()) / count
        if slope is not None:
            own = score * factor + (1 - factor.square())
            first.diagonal(dim1=-2, dim2=-1).copy_(own.mean(0))
            second.diagonal(dim1=-2, dim2=-1).copy_(own.square().mean(0))
        error = ((second - first.square()).clamp_min(0) / count).sqrt()
        off = first.abs() / (ERRORS * error + 1e-12)
        if not off.max() <= 1:
            setting, j, k = (int(one) for one in np.unravel_index(int(off.nan_to_num(torch.inf).argmax()), off.shape))
            raise Failed(
                f"expected Stein's identity of features {j} and {k} with {name} to be 0 ± "
                f"{error[setting, j, k].item():.2g} over draws, got {first[setting, j, k].item():.2g}, for "
                f"{density.words(setting)}; correct sample, or the shape of the density in log_prob."
            )


@unvalidated
def gradient_through_draws_is_right(density: Density) -> None:
    """Check that the gradient through reparameterized draws is on average that of the score function.

    For a bounded function φ of a draw x, E[∂φ(x(θ))/∂θ] = E[φ(x) ∂ log p(x)/∂θ], within six standard errors of the
    difference, over forty groups of draws.
    """
    if not density.distribution().has_rsample:
        raise NotRun("it has no rsample")
    parameters = density.parameters()
    given = {name: one.requires_grad_() for name, one in parameters.items() if one.is_floating_point()}
    made = density.batch(parameters)
    on_sphere = is_on_sphere(made)
    if not on_sphere and _moves(made):
        raise NotRun("its support depends on its parameters, so there is no score function to compare with")
    pilot = made.sample((2000,)).detach()
    centre, spread = centre_and_spread(pilot.reshape(*pilot.shape[:2], -1))
    weights = torch.randn(2, *centre.shape, dtype=torch.float64)

    def bounded(value: Tensor) -> Tensor:
        standard = (value.reshape(*value.shape[:2], -1) - centre) / spread
        return (weights[0] * standard.tanh() + weights[1] * (-0.5 * standard.square()).exp()).sum(-1)

    usual, groups = bounded(pilot).mean(0), []
    for _ in range(40):
        made = density.batch(parameters)
        draws = made.rsample((250,))
        through = bounded(draws).mean(0).sum()
        if not through.requires_grad:
            if not given or not made.log_prob(draws).requires_grad:
                raise NotRun("no parameter has a gradient")
            raise Failed(
                "expected draws of rsample with a gradient, got none; make rsample differentiable, or set has_rsample "
                "= False."
            )
        score = ((bounded(draws) - usual).detach() * made.log_prob(draws.detach())).mean(0).sum()
        slopes = [
            torch.autograd.grad(one, list(given.values()), retain_graph=True, allow_unused=True, materialize_grads=True)
            if one.requires_grad
            else [torch.zeros_like(each) for each in given.values()]
            for one in (through, score)  # which may share what was computed when the distribution was built
        ]
        groups.append([along(one, a - b, on_sphere) for one, a, b in zip(given.values(), *slopes, strict=True)])
    for name, found in zip(given, zip(*groups, strict=True), strict=True):
        difference = torch.stack(found)
        error = difference.std(0) / math.sqrt(len(groups))
        off = difference.mean(0).abs() > 1.2 * ERRORS * error + 1e-9  # the tails of 39 degrees of freedom
        if off.any():
            raise Failed(
                f"expected the gradient through draws with respect to {name} to be that of the score function "
                f"on average, got a difference of {difference.mean(0)[off][0].item():.2g} ± "
                f"{error[off][0].item():.2g}; look for a detach, or a parameter that rsample leaves out."
            )


def _moves(made: Any) -> bool:
    """Return whether the support depends on parameters, to go by the gradient of the bijection to it."""
    try:
        transform = biject_to(made.support)
    except NotImplementedError:
        return False
    shape = transform.inverse_shape(made.batch_shape + made.event_shape)
    return bool(transform(torch.zeros(shape, dtype=torch.float64)).requires_grad)


def along(parameter: Tensor, gradient: Tensor, on_sphere: bool) -> Tensor:
    """Project a gradient to the tangent space of the sphere, since the density is known only on it."""
    directions = on_sphere and parameter.dim() > 0 and parameter.shape[-1] > 1
    if not directions or ((parameter.norm(dim=-1) - 1).abs() > 1e-6).any():
        return gradient
    return gradient - (gradient * parameter).sum(-1, keepdim=True) * parameter.detach()
