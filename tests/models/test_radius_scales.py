"""Scales of the radius."""

from __future__ import annotations

import torch

from vje_ppl.models.radius_scales import projected, unit


def test_unit_is_one_for_every_image():
    direction, scale = torch.randn(2, 3, 5).double(), torch.rand(2, 3, 5).double()
    radius_scale = unit(direction, scale)
    assert torch.equal(radius_scale, torch.ones(2, 3).double())


def test_projected_is_the_standard_deviation_along_the_direction():
    direction = torch.nn.functional.normalize(torch.randn(4, 6).double(), dim=-1)
    scale = torch.rand(4, 6).double() + 0.1
    covariance = torch.diag_embed(scale.square())
    expected = torch.einsum("nj,njk,nk->n", direction, covariance, direction).sqrt()
    torch.testing.assert_close(projected(direction, scale), expected, rtol=1e-12, atol=0)


def test_projected_is_the_spread_of_draws_within_five_standard_errors():
    direction = torch.nn.functional.normalize(torch.randn(6).double(), dim=0)
    scale, count = torch.rand(6).double() + 0.1, 40_000
    along = (scale * torch.randn(count, 6).double()) @ direction
    expected = projected(direction, scale)
    assert (along.var() - expected.square()).abs() <= 5 * expected.square() * (2 / count) ** 0.5


def test_projected_of_one_scale_for_all_features_is_that_scale():
    direction = torch.nn.functional.normalize(torch.randn(3, 7).double(), dim=-1)
    torch.testing.assert_close(projected(direction, torch.full((3, 7), 0.3).double()), torch.full((3,), 0.3).double())


def test_projected_passes_gradcheck():
    direction = torch.randn(3, 4).double().requires_grad_()
    scale = (torch.rand(3, 4).double() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(projected, (direction, scale))


def test_projected_stays_positive_without_a_direction():
    scale = torch.ones(2, 3, requires_grad=True)
    radius_scale = projected(torch.zeros(2, 3), scale)
    assert (radius_scale > 0).all()
    radius_scale.sum().backward()
    assert torch.isfinite(scale.grad).all()
