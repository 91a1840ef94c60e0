"""The difference of log-gammas against mpmath, at fifty digits."""

from __future__ import annotations

import mpmath
import pytest
import torch

from vje_ppl.distributions.log_gamma import log_gamma_ratio

ARGUMENTS = [0.05, 0.5, 1.0, 3.7, 15.999, 16.0, 16.001, 250.0, 5e5, 1e9]
SHIFTS = [0.0, 0.5, 1.0, 32.0, 1024.0]
GRID = [pytest.param(x, a, id=f"x={x:g},a={a:g}") for x in ARGUMENTS for a in SHIFTS]


def exact(x: float, a: float) -> tuple[float, float, float, float]:
    """The value, its derivatives by x and by a, and the largest term that the two ways of computing it add."""
    with mpmath.workdps(50):
        x, a = mpmath.mpf(x), mpmath.mpf(a)
        value = mpmath.loggamma(x + a) - mpmath.loggamma(x) - a * mpmath.log(x)
        by_x = mpmath.digamma(x + a) - mpmath.digamma(x) - a / x
        by_a = mpmath.digamma(x + a) - mpmath.log(x)
        if x < 16:
            largest = max(abs(mpmath.loggamma(x + a)), abs(mpmath.loggamma(x)), abs(a * mpmath.log(x)))
        else:
            largest = max((x + a) * mpmath.log1p(a / x), a)
        return float(value), float(by_x), float(by_a), float(largest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("x", "a"), GRID)
def test_value_is_exact_to_rounding_of_its_largest_term(x, a, dtype):
    x_rounded, a_rounded = torch.tensor(x, dtype=dtype), torch.tensor(a, dtype=dtype)
    value, _, _, largest = exact(x_rounded.item(), a_rounded.item())
    # Five operations, each rounded once; torch's lgamma promises a few units in the last place, and x + a rounds by
    # half a unit, which lgamma turns into (x + a) psi(x + a) <= 2 largest + 2 of them.
    bound = 8 * torch.finfo(dtype).eps * (largest + 1)
    assert abs(log_gamma_ratio(x_rounded, a_rounded).item() - value) <= bound


@pytest.mark.parametrize(("x", "a"), GRID)
def test_gradient_is_the_difference_of_digammas(x, a):
    x_tensor = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    a_tensor = torch.tensor(a, dtype=torch.float64, requires_grad=True)
    by_x, by_a = torch.autograd.grad(log_gamma_ratio(x_tensor, a_tensor), (x_tensor, a_tensor))
    _, expected_by_x, expected_by_a, _ = exact(x, a)
    # The terms that cancel are of the order of (1 + a)/x + log(1 + a/x) by x, and of log x by a.
    assert by_x.item() == pytest.approx(expected_by_x, abs=1e-13 * (1 + (1 + a) / x + x))
    assert by_a.item() == pytest.approx(expected_by_a, abs=1e-13 * (1 + abs(expected_by_a) + 1 / x))


def test_keeps_digits_that_the_plain_difference_loses():
    x, a = torch.tensor(5e5), torch.tensor(64.0)
    value, _, _, _ = exact(5e5, 64.0)
    plain = torch.lgamma(x + a) - torch.lgamma(x) - a * x.log()
    assert abs(plain.item() - value) > 1e-2
    assert abs(log_gamma_ratio(x, a).item() - value) < 1e-4


def test_both_branches_have_finite_gradients_side_by_side():
    x = torch.tensor([1e-3, 15.9, 16.0, 1e8], requires_grad=True)
    log_gamma_ratio(x, torch.tensor(128.0)).sum().backward()
    assert torch.isfinite(x.grad).all()
