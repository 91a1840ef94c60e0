"""The gradient written by hand is that of autograd, and has gradients itself."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from vje_ppl.distributions.tangent_distance import differentiable_distance, tangent_distance

#: From close to far from the location, almost to the antipode; angles in radians.
ANGLES = [1e-3, 0.1, 0.2, 0.21, 1.0, 1.5, 1.6, 3.0, 3.14]


def _inputs(angles, dim=5, width=5, seed=0):
    """Locations, values at given angles from them, and scales between 0.1 and 1, in float64."""
    generator = torch.Generator().manual_seed(seed)
    loc = normalize(torch.randn(len(angles), dim, dtype=torch.float64, generator=generator), dim=-1)
    across = torch.randn(len(angles), dim, dtype=torch.float64, generator=generator)
    across = normalize(across - loc * (across * loc).sum(-1, keepdim=True), dim=-1)
    angle = torch.tensor(angles, dtype=torch.float64).unsqueeze(-1)
    scale = 0.1 + 0.9 * torch.rand(len(angles), width, dtype=torch.float64, generator=generator)
    return angle.cos() * loc + angle.sin() * across, loc, scale


@pytest.mark.parametrize("width", [1, 5], ids=["one scale", "a scale per feature"])
def test_values_and_gradients_are_those_of_autograd(width):
    inputs = [one.requires_grad_() for one in _inputs(ANGLES, width=width)]
    ours, theirs = tangent_distance(*inputs), differentiable_distance(*inputs)
    for one, other in zip(ours, theirs, strict=True):
        # Sums of five terms in float64. Autograd loses the most digits: of θ/sin θ next to the end of its series.
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)
    weights = [torch.linspace(-1, 2, len(ANGLES), dtype=torch.float64), torch.ones(len(ANGLES), dtype=torch.float64)]
    by_ours = torch.autograd.grad(ours, inputs, weights)
    by_theirs = torch.autograd.grad(theirs, inputs, weights)
    for one, other in zip(by_ours, by_theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9 * float(other.abs().max()))


def test_gradient_is_that_of_finite_differences_also_where_arguments_are_broadcast():
    value, loc, scale = _inputs([0.3, 1.2, 2.5], dim=3, width=3)
    value = torch.stack([value, normalize(value + 0.1, dim=-1)])
    inputs = [one.requires_grad_() for one in (value, loc, scale[:1])]
    assert torch.autograd.gradcheck(tangent_distance, inputs)
    assert torch.autograd.gradgradcheck(tangent_distance, inputs)


def test_a_gradient_that_is_not_asked_for_is_left_out():
    value, loc, scale = _inputs([0.3])
    distance, log_scales = tangent_distance(value, loc.requires_grad_(), scale)
    (distance + log_scales).sum().backward()
    assert torch.isfinite(loc.grad).all()
    assert value.grad is None
    assert scale.grad is None


def test_the_location_itself_and_a_location_without_direction_have_finite_gradients():
    for dtype in (torch.float32, torch.float64):
        north = torch.tensor([[0.0, 0.0, 1.0]], dtype=dtype)
        for loc in (north, -north, torch.zeros_like(north)):
            inputs = [one.clone().requires_grad_() for one in (north, loc, torch.full_like(north, 0.1))]
            distance, log_scales = tangent_distance(*inputs)
            (distance + log_scales).sum().backward()
            for one in (distance, log_scales, *(given.grad for given in inputs)):
                assert torch.isfinite(one).all()
