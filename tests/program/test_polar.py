"""Direction and radius of embeddings."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vje_ppl.program.polar import Polar, to_polar


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (3, 1), (0, 4)], ids=str)
def test_shapes_are_those_of_the_batch(shape):
    polar = to_polar(torch.randn(shape))
    assert isinstance(polar, Polar)
    assert polar.direction.shape == shape
    assert polar.radius.shape == shape[:-1]


@settings(deadline=None, derandomize=True, database=None, max_examples=50)
@given(dim=st.integers(1, 300), decade=st.integers(-6, 4), seed=st.integers(0, 2**32))
def test_direction_times_radius_is_the_vector_and_the_direction_has_length_one(dim, decade, seed):
    vector = 10.0**decade * torch.randn(4, dim, generator=torch.Generator().manual_seed(seed))
    direction, radius = to_polar(vector)
    torch.testing.assert_close(direction * radius.unsqueeze(-1), vector, rtol=3e-7, atol=0)
    # A norm of D squares, rounded once each, errs by (D + 1) half units at most.
    torch.testing.assert_close(direction.norm(dim=-1), torch.ones(4), rtol=(dim + 1) * torch.finfo().eps, atol=0)
    assert (radius > 0).all()


@settings(deadline=None, derandomize=True, database=None, max_examples=25)
@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 2**32))
def test_direction_ignores_length_and_radius_scales_with_it(factor, seed):
    vector = torch.randn(3, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    one, other = to_polar(vector), to_polar(factor * vector)
    torch.testing.assert_close(other.direction, one.direction, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(other.radius, factor * one.radius, rtol=1e-12, atol=0)


@pytest.mark.parametrize("part", [tuple, lambda polar: polar.direction, lambda polar: polar.radius])
def test_gradients_of_first_and_second_order_are_right(part):
    vector = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda one: part(to_polar(one)), vector)
    assert torch.autograd.gradgradcheck(lambda one: part(to_polar(one)), vector)


def test_origin_has_no_direction_and_a_finite_gradient():
    vector = torch.zeros(2, 3, requires_grad=True)
    direction, radius = to_polar(vector)
    assert (direction == 0).all()
    assert (radius == 0).all()
    (direction.sum() + radius.sum()).backward()
    assert torch.isfinite(vector.grad).all()
