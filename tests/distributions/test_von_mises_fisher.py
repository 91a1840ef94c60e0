"""The von Mises-Fisher against SciPy, Pyro's own in two and three dimensions, and mpmath."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from torch import Tensor

from vje_ppl.distributions import VonMisesFisher


def unit(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(shape, generator=generator, dtype=torch.float64), dim=-1).to(dtype)


#: SciPy's scaled Bessel function underflows for D = 512 at small concentrations.
SCIPY = [(concentration, dim) for concentration in (0.1, 7.0, 300.0, 1e4) for dim in (2, 3, 16, 128)] + [(1e4, 512)]


@pytest.mark.parametrize(("concentration", "dim"), SCIPY)
def test_log_prob_equals_scipy(concentration, dim):
    loc, value = unit(dim), unit(5, dim, seed=1)
    expected = scipy.stats.vonmises_fisher(loc.numpy(), concentration).logpdf(value.numpy())
    found = VonMisesFisher(loc, concentration).log_prob(value).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13 * (concentration + dim))


def test_log_prob_in_two_dimensions_is_that_of_pyros_on_angles():
    angle, value = torch.tensor(0.4).double(), torch.linspace(-3, 3, 9).double()
    concentration = torch.logspace(-2, 2, 5).double().unsqueeze(-1)
    circle = [torch.stack([one.cos(), one.sin()], -1) for one in (angle, value)]
    expected = dist.VonMises(angle, concentration).log_prob(value)
    # Pyro's polynomials for the Bessel function are good to about 1e-6.
    torch.testing.assert_close(
        VonMisesFisher(circle[0], concentration).log_prob(circle[1]), expected, rtol=0, atol=2e-6
    )


def test_log_prob_in_three_dimensions_is_that_of_pyros():
    loc, value = unit(3), unit(6, 3, seed=1)
    for concentration in (0.5, 8.0, 50.0):
        expected = dist.VonMises3D(concentration * loc).log_prob(value)
        torch.testing.assert_close(VonMisesFisher(loc, concentration).log_prob(value), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dim", [2, 16, 512, 2048])
@pytest.mark.parametrize("concentration", [1e-4, 1.0, 1e4, 1e8])
def test_float32_errs_by_no_more_than_rounding(concentration, dim):
    """At vectors that are close, at a right angle, and opposite, against mpmath given the same rounded vectors."""
    loc = unit(dim, dtype=torch.float32)
    near = torch.nn.functional.normalize(
        loc + unit(dim, dtype=torch.float32, seed=1) / math.sqrt(1 + concentration), dim=0
    )
    kappa = torch.tensor(concentration, dtype=torch.float32)
    for value in (near, unit(dim, dtype=torch.float32, seed=2), -loc):
        found = VonMisesFisher(loc, kappa).log_prob(value).item()
        with mpmath.workdps(40):
            exactly, order = mpmath.mpf(kappa.item()), mpmath.mpf(dim) / 2 - 1
            exponent = -exactly * mpmath.mpf((value.double() - loc.double()).square().sum().item()) / 2
            log_bessel = mpmath.log(mpmath.besseli(order, exactly)) - exactly
            integral = (order + 1) * mpmath.log(2 * mpmath.pi) - order * mpmath.log(exactly) + log_bessel
            expected = float(exponent - integral)
            area = float(mpmath.log(2) + dim * mpmath.log(mpmath.pi) / 2 - mpmath.loggamma(mpmath.mpf(dim) / 2))
        # A squared distance errs by D/2 + 3 half units, less by far where sums are blocked; the normalizer as in its
        # own test, by 8 units of its terms and 4 for each of at most 20 recurred orders.
        terms = (dim / 2 + 3) * abs(float(exponent)) + 8 * (1 + 2 * abs(area) + abs(float(integral))) + 80
        assert abs(found - expected) <= torch.finfo(torch.float32).eps * terms


def cosine_cdf(concentration: float, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """The distribution function of the angle, whose density is exp(κ cos θ) sin^(D−2) θ up to a constant."""
    angle = np.linspace(0, math.pi, 400_001)[1:-1]
    log_density = concentration * (np.cos(angle) - 1) + (dim - 2) * np.log(np.sin(angle))
    total = np.cumsum(np.exp(log_density - log_density.max()))
    return angle, (total - 0.5 * np.exp(log_density - log_density.max())) / total[-1]


@pytest.mark.parametrize("dim", [512])
@pytest.mark.parametrize("concentration", [1e-3, 2.0, 40.0, 3e3])
def test_angles_of_draws_follow_the_density(concentration, dim):
    loc = unit(dim)
    draws = VonMisesFisher(loc, concentration).sample(torch.Size([10_000]))
    distance = torch.linalg.vector_norm(draws - loc, dim=-1)
    angle = 2 * (0.5 * distance).clamp_max(1).asin().numpy()
    grid, probability = cosine_cdf(concentration, dim)
    assert scipy.stats.kstest(angle, lambda one: np.interp(one, grid, probability)).pvalue > 1e-4


@pytest.mark.parametrize("dim", [2, 128])
@pytest.mark.parametrize("concentration", [1e-4, 1.0, 1e4, 1e8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_moments_keep_their_digits(concentration, dim, dtype):
    """The mean is A(κ) μ, and the variance along μ is A'(κ) = 1 − A² − (D−1) A/κ, which cancels for large κ."""
    loc = torch.eye(dim, dtype=dtype)[0]
    distribution = VonMisesFisher(loc, concentration)
    with mpmath.workdps(40):
        kappa, order = mpmath.mpf(distribution.concentration.item()), mpmath.mpf(dim) / 2 - 1
        ratio = mpmath.besseli(order + 1, kappa) / mpmath.besseli(order, kappa)
        along, across = float(1 - ratio**2 - (dim - 1) * ratio / kappa), float(ratio / kappa)
    rounding = torch.finfo(dtype).eps * (16 + 640 / (dim - 1))  # of the normalizer's second derivative
    assert distribution.mean[0].item() == pytest.approx(float(ratio), rel=rounding)
    assert (distribution.mean[1:] == 0).all()
    assert distribution.variance[0].item() == pytest.approx(along, rel=rounding, abs=0)
    assert distribution.variance[1].item() == pytest.approx(across, rel=rounding, abs=0)


def test_gradients_reach_the_moments_but_not_the_draws():
    concentration = torch.tensor(3.0, requires_grad=True)
    distribution = VonMisesFisher(torch.eye(3)[0], concentration)
    for moment in (distribution.mean, distribution.variance):
        (gradient,) = torch.autograd.grad(moment[0], concentration)
        assert gradient.abs() > 1e-3
    assert not distribution.has_rsample
    assert not distribution.sample().requires_grad
    with pytest.raises(NotImplementedError):
        distribution.rsample()
