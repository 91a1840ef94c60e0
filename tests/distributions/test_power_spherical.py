"""The power spherical density against mpmath, its antipode, and its reparameterized draws."""

from __future__ import annotations

import math

import mpmath
import pytest
import scipy.stats
import torch
from torch import Tensor

from vje_ppl.distributions import PowerSpherical
from vje_ppl.program.polar import to_polar

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def unit(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(shape, generator=generator, dtype=torch.float64), dim=-1).to(dtype)


def log_half_one_plus_cosine(loc: Tensor, value: Tensor) -> float:
    """`log((1 + μ·x)/2)` of two rounded unit vectors, from their squared distance, to μ or −μ, whichever is closer."""
    sign = 1 if value @ loc >= 0 else -1
    with mpmath.workdps(40):
        pairs = zip(value.tolist(), loc.tolist(), strict=True)
        quarter = mpmath.fsum((mpmath.mpf(x) - sign * mpmath.mpf(m)) ** 2 for x, m in pairs) / 4
        return float(mpmath.log1p(-quarter) if sign > 0 else mpmath.log(quarter))


def log_normalizer(concentration: float, dim: int) -> tuple[float, float]:
    """`κ log 2` less the logarithm of the published normalizer, and the absolute sum of what makes it up."""
    with mpmath.workdps(40):
        beta = mpmath.mpf(dim - 1) / 2
        alpha = beta + mpmath.mpf(concentration)
        gammas = mpmath.loggamma(alpha + beta) - mpmath.loggamma(alpha)
        published = (alpha + beta) * mpmath.log(2) + beta * mpmath.log(mpmath.pi) - gammas
        return float(concentration * mpmath.log(2) - published), float(abs(gammas) + beta * mpmath.log(4 * mpmath.pi))


@DTYPES
@pytest.mark.parametrize("dim", [2, 3, 16, 512, 2048])
@pytest.mark.parametrize("concentration", [1e-4, 1.0, 10.0, 1e4, 1e8])
def test_log_prob_equals_mpmath_to_rounding(concentration, dim, dtype):
    loc, kappa = unit(dim, dtype=dtype), torch.tensor(concentration, dtype=dtype)
    step, far = unit(dim, dtype=dtype, seed=1) / math.sqrt(1 + concentration), 1e-3 * unit(dim, dtype=dtype, seed=3)
    near, across, opposite = (
        to_polar(loc + step).direction,
        unit(dim, dtype=dtype, seed=2),
        to_polar(far - loc).direction,
    )
    for value in (near, across, opposite):
        log_half, (constant, terms) = log_half_one_plus_cosine(loc, value), log_normalizer(kappa.item(), dim)
        # A squared distance errs by D/2 + 3 half units of itself, which its logarithm turns into as many absolute ones
        # on the far side, and into at most twice as many of log1p's value on the near side.
        cosine = (dim / 2 + 3) * (2 * abs(log_half) if value @ loc >= 0 else 1) + 4 * abs(log_half)
        # The gammas err by 8 units of their difference, or of each where α < 16 and they are subtracted.
        taken_apart = 3 * math.lgamma(16 + dim / 2) if kappa + (dim - 1) / 2 < 16 else 0.0
        bound = torch.finfo(dtype).eps * (kappa.item() * cosine + 8 * (1 + terms + taken_apart))
        found = PowerSpherical(loc, kappa).log_prob(value).item()
        assert abs(found - (kappa.item() * log_half + constant)) <= bound


@DTYPES
@pytest.mark.parametrize("concentration", [1e-4, 1.0, 1e8])
def test_at_the_antipode_the_value_is_the_documented_floor_and_the_gradient_zero(concentration, dtype):
    loc, value = unit(5, dtype=dtype), -unit(5, dtype=dtype)
    value.requires_grad_()
    distribution = PowerSpherical(loc, concentration)
    found = distribution.log_prob(value)
    fall = distribution.log_prob(loc) - found
    assert fall.item() == pytest.approx(-2 * concentration * math.log(torch.finfo(dtype).eps), rel=1e-4)
    assert (torch.autograd.grad(found, value)[0] == 0).all()


def test_next_to_the_antipode_nothing_is_floored():
    loc = torch.tensor([1.0, 0.0])
    angle = 1e-6  # float32, eight times its spacing
    value = torch.tensor([-math.cos(angle), math.sin(angle)])
    found = PowerSpherical(loc, 1.0).log_prob(value) - PowerSpherical(loc, 1.0).log_prob(loc)
    assert found.item() == pytest.approx(2 * math.log(math.sin(angle / 2)), rel=1e-5)


@pytest.mark.parametrize("dim", [2, 3, 16, 512])
@pytest.mark.parametrize("concentration", [0.0, 1e-3, 2.0, 40.0, 3e3])
def test_cosines_of_draws_follow_the_published_beta(concentration, dim):
    loc = unit(dim)
    draws = PowerSpherical(loc, concentration).rsample(torch.Size([10_000]))
    share = 0.25 * (draws - loc).square().sum(-1).clamp_max(4)  # (1 − cosine)/2
    beta = scipy.stats.beta((dim - 1) / 2, (dim - 1) / 2 + concentration)
    assert scipy.stats.kstest(share.numpy(), beta.cdf).pvalue > 1e-4


@pytest.mark.parametrize("dim", [2, 3, 16])
@pytest.mark.parametrize("concentration", [0.5, 20.0])
def test_gradients_through_draws_estimate_those_of_the_mean(concentration, dim):
    """E x = κ/(κ+D−1) μ, differentiated by κ and, through the normalization, by an unnormalized location."""
    count = 20_000
    raw, probe = unit(dim) * 1.7, unit(dim, seed=1)
    latents = raw.expand(count, dim).clone().requires_grad_()
    kappa = torch.full((count,), concentration).double().requires_grad_()
    draws = PowerSpherical(to_polar(latents).direction, kappa).rsample()
    found = torch.autograd.grad((draws @ probe).sum(), (kappa, latents))

    at = (torch.tensor(concentration).double().requires_grad_(), raw.clone().requires_grad_())
    mean = at[0] / (at[0] + dim - 1) * to_polar(at[1]).direction
    expected = torch.autograd.grad(mean @ probe, at)
    for each, exactly in zip(found, expected, strict=True):
        error = each.std(0) / math.sqrt(count)
        assert ((each.mean(0) - exactly).abs() <= 5 * error + 1e-12).all()


@DTYPES
@pytest.mark.parametrize("dim", [2, 512])
def test_gradients_through_draws_are_finite_over_many_decades(dim, dtype):
    concentration = torch.logspace(-4, 8, 13, dtype=dtype, requires_grad=True)
    loc = unit(13, dim, dtype=dtype).requires_grad_()
    draws = PowerSpherical(loc, concentration).rsample((20,))
    assert draws.dtype == dtype
    for gradient in torch.autograd.grad(draws.sum(), (loc, concentration)):
        assert torch.isfinite(gradient).all()


def test_says_that_it_is_reparameterized():
    assert PowerSpherical.has_rsample
