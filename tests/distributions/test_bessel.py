"""The normalizer of the von Mises-Fisher against mpmath at forty digits, and SciPy, with two derivatives."""

from __future__ import annotations

import math
from functools import cache

import mpmath
import numpy as np
import pytest
import scipy.special
import torch

from vje_ppl.distributions.bessel import log_exponential_integral, mean_cosine_rate

DIMS = [2, 3, 16, 41, 42, 128, 512, 2048]  # from 42 on no recurrence is needed
#: Numbers that float32 holds exactly.
CONCENTRATIONS = [float(one) for one in np.logspace(-4, 8, 13).astype(np.float32)]
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@cache
def exact(concentration: float, dim: int) -> tuple[float, float, float, float]:
    """log ∫ exp(κ (cos − 1)), its two derivatives A − 1 and 1 − A² − (D−1) A/κ, and A/κ."""
    with mpmath.workdps(40):
        kappa, order = mpmath.mpf(concentration), mpmath.mpf(dim) / 2 - 1
        log_bessel, above = (mpmath.log(mpmath.besseli(one, kappa)) - kappa for one in (order, order + 1))
        value = (order + 1) * mpmath.log(2 * mpmath.pi) - order * mpmath.log(kappa) + log_bessel
        ratio = mpmath.exp(above - log_bessel)
        second = 1 - ratio**2 - (dim - 1) * ratio / kappa
        return float(value), float(ratio - 1), float(second), float(ratio / kappa)


def steps(dim: int) -> int:
    """The number of orders that are recurred over: up to 20."""
    return max(0, math.ceil(21 - dim / 2))


def log_area(dim: int) -> float:
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


@DTYPES
@pytest.mark.parametrize("dim", DIMS)
def test_value_is_exact_to_rounding(dim, dtype):
    kappa = torch.tensor(CONCENTRATIONS, dtype=dtype)
    found = log_exponential_integral(kappa, dim)
    assert found.dtype == dtype
    for one, concentration in zip(found.tolist(), CONCENTRATIONS, strict=True):
        expected = exact(concentration, dim)[0]
        # All terms but the log area have one sign; each is rounded some eight times. Every order that is recurred over
        # adds a factor of four roundings.
        largest = 1 + abs(log_area(dim)) + abs(expected - log_area(dim))
        assert abs(one - expected) <= torch.finfo(dtype).eps * (8 * largest + 4 * steps(dim)), concentration


@DTYPES
@pytest.mark.parametrize("dim", DIMS)
def test_two_derivatives_are_exact_to_rounding_relative_to_themselves(dim, dtype):
    kappa = torch.tensor(CONCENTRATIONS, dtype=dtype, requires_grad=True)
    (first,) = torch.autograd.grad(log_exponential_integral(kappa, dim).sum(), kappa, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), kappa)
    # Where κ is large, the derivative of each recurred order is a difference of two terms of about 1/κ, rounded some
    # eight times, and the result is (D−1)/2κ; the second derivative doubles the terms.
    bound = torch.finfo(dtype).eps * (8 + 16 * steps(dim) / (dim - 1))
    for number, concentration in enumerate(CONCENTRATIONS):
        _, slope, curvature, _ = exact(concentration, dim)
        assert first[number].item() == pytest.approx(slope, rel=bound, abs=0), concentration
        assert second[number].item() == pytest.approx(curvature, rel=2 * bound, abs=0), concentration


@DTYPES
@pytest.mark.parametrize("dim", DIMS)
def test_mean_cosine_is_exact_to_rounding_relative_to_itself(dim, dtype):
    found = mean_cosine_rate(torch.tensor(CONCENTRATIONS, dtype=dtype), dim)
    # Each step divides by one plus a rounded product, which damps what came before; ten roundings at most remain.
    for one, concentration in zip(found.tolist(), CONCENTRATIONS, strict=True):
        assert one == pytest.approx(exact(concentration, dim)[3], rel=10 * torch.finfo(dtype).eps, abs=0), concentration


@pytest.mark.parametrize("dim", [2, 3, 16, 128])
def test_value_equals_scipys_scaled_bessel_function(dim):
    kappa = np.logspace(0, 5, 11)
    order = dim / 2 - 1
    expected = dim / 2 * np.log(2 * np.pi) - order * np.log(kappa) + np.log(scipy.special.ive(order, kappa))
    # SciPy promises about 1e-14 relative to the function, that is, absolute in the logarithm.
    found = log_exponential_integral(torch.from_numpy(kappa), dim).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-13)


@DTYPES
@pytest.mark.parametrize("dim", DIMS)
def test_no_concentration_is_the_uniform_density(dim, dtype):
    kappa = torch.zeros((), dtype=dtype, requires_grad=True)
    value = log_exponential_integral(kappa, dim)
    assert value.item() == pytest.approx(log_area(dim), rel=2 * torch.finfo(dtype).eps)
    (first,) = torch.autograd.grad(value, kappa, create_graph=True)
    (second,) = torch.autograd.grad(first, kappa)
    rounding = torch.finfo(dtype).eps * (8 + 4 * steps(dim))
    assert first.item() == pytest.approx(-1, abs=rounding)
    assert second.item() == pytest.approx(1 / dim, rel=rounding)
    assert mean_cosine_rate(kappa, dim).item() == pytest.approx(1 / dim, rel=rounding)


@pytest.mark.parametrize("dim", [2, 5, 64])
def test_gradients_of_both_orders_pass_gradcheck(dim):
    kappa = torch.tensor([1e-2, 0.7, 13.0, 400.0], dtype=torch.float64, requires_grad=True)
    for function in (log_exponential_integral, mean_cosine_rate):
        assert torch.autograd.gradcheck(lambda one, function=function: function(one, dim), kappa)
        assert torch.autograd.gradgradcheck(lambda one, function=function: function(one, dim), kappa)
