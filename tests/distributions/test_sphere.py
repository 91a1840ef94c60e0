"""Geometry on the sphere: distances at all angles, areas, and points at a given angle from a location."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from vje_ppl.distributions.sphere import from_versine, log_sphere_area, unit_ball, versine

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def unit(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(shape, generator=generator, dtype=torch.float64), dim=-1).to(dtype)


@pytest.mark.parametrize(
    ("dim", "area"), [(1, 2.0), (2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2), (6, math.pi**3)]
)
def test_area_is_the_one_in_closed_form(dim, area):
    assert log_sphere_area(dim) == pytest.approx(math.log(area), rel=1e-15)


@DTYPES
@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-5, 1e-2, 1.0, 3.0, math.pi])
def test_versine_keeps_its_digits_at_small_angles(angle, dtype):
    loc = torch.tensor([1.0, 0.0, 0.0], dtype=dtype)
    value = torch.tensor([math.cos(angle), math.sin(angle), 0.0], dtype=dtype)
    with mpmath.workdps(30):
        squared = (mpmath.mpf(value[0].item()) - 1) ** 2 + mpmath.mpf(value[1].item()) ** 2
        expected = float(squared / 2)
    assert versine(loc, value).item() == pytest.approx(expected, rel=4 * torch.finfo(dtype).eps, abs=0)
    # Rounding of the vectors themselves is second order at small angles.
    assert versine(loc, value).item() == pytest.approx(2 * math.sin(angle / 2) ** 2, rel=8 * torch.finfo(dtype).eps)


def test_gradient_of_versine_is_that_of_the_cosine_along_the_sphere():
    raw, value = torch.randn(4, 5).double().requires_grad_(), unit(4, 5)
    loc = torch.nn.functional.normalize(raw, dim=-1)
    (found,) = torch.autograd.grad(versine(loc, value).sum(), raw, retain_graph=True)
    (expected,) = torch.autograd.grad((1 - (loc * value).sum(-1)).sum(), raw)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@DTYPES
def test_the_zero_vector_is_at_a_right_angle_to_all(dtype):
    value = unit(6, 5, dtype=dtype)
    loc = torch.zeros(5, dtype=dtype, requires_grad=True)
    found = versine(loc, value)
    torch.testing.assert_close(found, torch.ones(6, dtype=dtype))
    assert torch.isfinite(torch.autograd.grad(found.sum(), loc)[0]).all()


@DTYPES
@pytest.mark.parametrize("dim", [2, 3, 64])
def test_points_are_unit_vectors_at_the_given_angle(dim, dtype):
    angle = torch.logspace(-6, math.log10(math.pi), 50, dtype=dtype)
    loc = unit(50, dim, dtype=dtype)
    wanted = 2 * (angle / 2).sin().square()
    drawn = from_versine(loc, wanted)
    # Each coordinate is a sum of three rounded products; the distance inherits that once per coordinate.
    rounding = 4 * torch.finfo(dtype).eps * math.sqrt(dim)
    assert ((torch.linalg.vector_norm(drawn, dim=-1) - 1).abs() <= rounding).all()
    error = torch.linalg.vector_norm(drawn - loc, dim=-1) - (2 * wanted).sqrt()
    assert (error.abs() <= rounding).all()


@pytest.mark.parametrize("axis", [1.0, -1.0], ids=["first_axis", "its_opposite"])
def test_points_around_an_axis_are_as_good_as_any(axis):
    loc = torch.tensor([axis, 0.0, 0.0], requires_grad=True)
    drawn = from_versine(loc.expand(7, 3), torch.full((7,), 0.25))
    torch.testing.assert_close(drawn @ loc, torch.full((7,), 0.75))
    assert torch.isfinite(torch.autograd.grad(drawn.sum(), loc)[0]).all()


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_tangents_are_uniform(dim):
    count = 20_000
    loc, across = unit(dim), unit(dim, seed=1)
    across = torch.nn.functional.normalize(across - (across @ loc) * loc, dim=-1)
    drawn = from_versine(loc.expand(count, dim), torch.full((count,), 0.5).double())
    along_tangent = (drawn @ across) / math.sqrt(0.75)
    if dim == 2:  # two tangents only
        assert torch.allclose(along_tangent.abs(), torch.ones(count).double())
        assert abs(along_tangent.mean().item()) <= 5 / math.sqrt(count)
        return
    # A coordinate t of a uniform point on the sphere of R^(D−1) has (1 + t)/2 ~ Beta((D−2)/2, (D−2)/2).
    beta = scipy.stats.beta((dim - 2) / 2, (dim - 2) / 2)
    assert scipy.stats.kstest((1 + along_tangent.numpy()) / 2, beta.cdf).pvalue > 1e-4


def test_points_around_the_zero_vector_are_uniform():
    count, dim = 20_000, 4
    drawn = from_versine(torch.zeros(count, dim).double(), torch.full((count,), 0.1).double())
    beta = scipy.stats.beta((dim - 1) / 2, (dim - 1) / 2)
    for feature in range(dim):
        assert scipy.stats.kstest((1 + drawn[:, feature].numpy()) / 2, beta.cdf).pvalue > 1e-4


@DTYPES
def test_gradients_through_points_are_finite_at_the_poles(dtype):
    wanted = torch.tensor([0.0, 1e-30, 1.0, 2.0], dtype=dtype, requires_grad=True)
    loc = unit(4, 3, dtype=dtype).requires_grad_()
    for gradient in torch.autograd.grad(from_versine(loc, wanted).sum(), (loc, wanted)):
        assert torch.isfinite(gradient).all()


@DTYPES
def test_unit_ball_holds_rounded_directions_and_zero_but_nothing_longer(dtype):
    vectors = torch.stack([*unit(20, 2048, dtype=dtype), torch.zeros(2048, dtype=dtype)])
    assert unit_ball.check(vectors).all()
    assert not unit_ball.check(1.01 * vectors[:20]).any()
    assert not unit_ball.check(torch.full((3,), math.nan, dtype=dtype))
    assert np.shape(unit_ball.check(vectors)) == (21,)
