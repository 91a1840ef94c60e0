"""What every density on the sphere with a location and a concentration must do, whatever its formula."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from vje_ppl.crosscheck.quadrature import log_integral_over_sphere
from vje_ppl.distributions import PowerSpherical, VonMisesFisher
from vje_ppl.distributions.sphere import log_sphere_area
from vje_ppl.program.polar import to_polar

DENSITIES = {"von_mises_fisher": VonMisesFisher, "power_spherical": PowerSpherical}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@pytest.fixture(params=DENSITIES.values(), ids=DENSITIES)
def density(request) -> Any:
    return request.param


def normals(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def unit(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return to_polar(normals(*shape, dtype=dtype, seed=seed)).direction


@pytest.mark.parametrize("dim", [2, 3, 16, 128, 2048])
@pytest.mark.parametrize("concentration", [0.0, 1e-4, 0.5, 20.0, 1e3, 1e5, 1e8])
def test_integrates_to_one_over_the_sphere(density, concentration, dim):
    distribution = density(torch.eye(dim, dtype=torch.float64)[0], concentration, validate_args=False)

    def log_density(points: np.ndarray) -> np.ndarray:
        return distribution.log_prob(torch.from_numpy(points)).numpy()

    found = log_integral_over_sphere(log_density, dim, scale=1 / math.sqrt(max(concentration, 1.0)))
    # Rounding of the largest of what is added up: the log normalizer, and (D−2) log sin θ where the mass is.
    terms = abs(distribution.log_prob(distribution.loc).item()) + dim * math.log(2 + concentration)
    assert abs(found) <= 1e-12 + 4 * torch.finfo(torch.float64).eps * terms


@DTYPES
@pytest.mark.parametrize("dim", [2, 3, 64, 2048])
def test_values_and_gradients_are_finite_everywhere(density, dim, dtype):
    concentration = torch.logspace(-4, 8, 13, dtype=dtype).unsqueeze(-1).requires_grad_()
    loc = unit(dim, dtype=dtype).requires_grad_()
    zero = torch.zeros(dim, dtype=dtype, requires_grad=True)
    almost = to_polar(loc.detach() + torch.finfo(dtype).eps * normals(dim, dtype=dtype, seed=3)).direction
    value = torch.stack([loc.detach(), -loc.detach(), almost, -almost, unit(dim, dtype=dtype, seed=1)])
    value.requires_grad_()
    for where in (loc, zero):
        log_prob = density(where, concentration).log_prob(value)
        assert log_prob.shape == (13, 5)
        assert torch.isfinite(log_prob).all()
        for gradient in torch.autograd.grad(log_prob.sum(), (where, concentration, value)):
            assert torch.isfinite(gradient).all()


@DTYPES
def test_gradients_reach_a_latent_at_the_origin_and_stay_finite(density, dtype):
    latent = torch.zeros(4, 8, dtype=dtype, requires_grad=True)
    value = unit(4, 8, dtype=dtype)
    log_prob = density(to_polar(latent).direction, torch.tensor(30.0, dtype=dtype)).log_prob(value)
    assert torch.isfinite(torch.autograd.grad(log_prob.sum(), latent)[0]).all()


@DTYPES
@pytest.mark.parametrize("dim", [2, 3, 64])
def test_a_location_of_zero_has_the_density_at_a_right_angle(density, dim, dtype):
    concentration = torch.logspace(-4, 4, 9, dtype=dtype)
    axes = torch.eye(dim, dtype=dtype)
    found = density(torch.zeros(dim, dtype=dtype), concentration).log_prob(axes[1])
    torch.testing.assert_close(found, density(axes[0], concentration).log_prob(axes[1]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dim", [2, 3, 64])
def test_no_concentration_is_uniform(density, dim):
    found = density(unit(dim), 0.0).log_prob(unit(5, dim, seed=1))
    torch.testing.assert_close(
        found, torch.full((5,), -log_sphere_area(dim), dtype=torch.float64), rtol=1e-14, atol=1e-14
    )


@pytest.mark.parametrize("dim", [2, 3, 7])
def test_gradients_pass_gradcheck(density, dim):
    concentration = torch.tensor([0.3, 5.0, 60.0]).double().requires_grad_()
    raw_loc, raw_value = normals(3, dim).requires_grad_(), normals(3, dim, seed=1).requires_grad_()

    def log_prob(concentration: Tensor, raw_loc: Tensor, raw_value: Tensor) -> Tensor:
        return density(to_polar(raw_loc).direction, concentration).log_prob(to_polar(raw_value).direction)

    assert torch.autograd.gradcheck(log_prob, (concentration, raw_loc, raw_value))
    assert torch.autograd.gradgradcheck(lambda one: log_prob(one, raw_loc.detach(), raw_value.detach()), concentration)


@pytest.mark.parametrize("dim", [512])
@pytest.mark.parametrize("concentration", [0.0, 1e-3, 3.0, 500.0])
def test_draws_have_mean_and_variance_within_five_standard_errors(density, concentration, dim):
    count = 4_000
    distribution = density(unit(dim), concentration)
    draws = distribution.sample(torch.Size([count]))
    assert distribution.support.check(draws).all()
    error = (distribution.variance / count).sqrt()
    assert ((draws.mean(0) - distribution.mean).abs() <= 5 * error).all()
    assert (distribution.variance.sum() + distribution.mean.square().sum()).item() == pytest.approx(1, rel=1e-12)
    centred = (draws - distribution.mean).square()
    assert ((centred.mean(0) - distribution.variance).abs() <= 5 * centred.std(0) / math.sqrt(count)).all()
    cosine = draws @ distribution.loc
    expected = distribution.mean @ distribution.loc
    assert (cosine.mean() - expected).abs() <= 5 * cosine.std() / math.sqrt(count)


@pytest.mark.parametrize("dim", [2, 512])
def test_draws_in_float32_spread_as_they_should_at_large_concentrations(density, dim):
    count, concentration = 4_000, 1e8
    distribution = density(unit(dim, dtype=torch.float32), concentration)
    draws = distribution.sample(torch.Size([count]))
    squared = (draws.double() - distribution.loc.double()).square().sum(-1)
    expected = 2 * (1 - density(unit(dim), concentration).mean.norm().item())
    # Adding a small step to a coordinate of a unit vector rounds it by ε/2, D times.
    rounding = dim * torch.finfo(torch.float32).eps ** 2
    assert abs(squared.mean().item() - expected) <= 5 * squared.std().item() / math.sqrt(count) + rounding


def test_draws_around_the_zero_vector_are_on_the_sphere_and_uniform(density):
    count = 4_000
    draws = density(torch.zeros(4).double(), 50.0).sample((count,))
    assert constraints.sphere.check(draws).all()
    # Uniform: mean 0 and variance 1/D a feature.
    assert (draws.mean(0).abs() <= 5 / math.sqrt(4 * count)).all()


OPERATIONS = {
    "expand_by": (lambda d: d.expand_by((4,)), (4, 2)),
    "mask": (lambda d: d.mask(torch.tensor([True, True])), (2,)),
}


@pytest.mark.parametrize(("operation", "batch_shape"), OPERATIONS.values(), ids=OPERATIONS)
def test_behaves_under_pyros_operations_as_one_event_at_a_time(density, operation, batch_shape):
    loc, concentration, value = unit(2, 3), torch.tensor([3.0, 70.0]).double(), unit(2, 3, seed=1)
    distribution = operation(density(loc, concentration))
    assert isinstance(distribution, TorchDistribution)
    assert (distribution.batch_shape, distribution.event_shape) == (batch_shape, (3,))
    assert distribution.sample((6, 1)).shape == (6, 1, *batch_shape, 3)
    one_by_one = torch.stack([density(loc[i], concentration[i]).log_prob(value[i]) for i in range(2)])
    torch.testing.assert_close(distribution.log_prob(value), one_by_one.expand(batch_shape), rtol=1e-13, atol=1e-13)
    if hasattr(distribution, "mean") and operation is not OPERATIONS["mask"][0]:
        assert distribution.mean.shape == distribution.variance.shape == (*batch_shape, 3)


def test_to_event_sums_over_the_batch(density):
    distribution = density(unit(2, 3), torch.tensor([3.0, 70.0]).double())
    value = unit(2, 3, seed=1)
    joint = distribution.to_event(1)
    assert (joint.batch_shape, joint.event_shape) == ((), (2, 3))
    torch.testing.assert_close(joint.log_prob(value), distribution.log_prob(value).sum())


def test_expand_copies_nothing(density):
    distribution = density(unit(3), 2.0)
    assert distribution.expand((1000, 1000)).loc.data_ptr() == distribution.loc.data_ptr()


def test_a_plate_broadcasts_it(density):
    with pyro.plate("images", 5):
        draw = pyro.sample("direction", density(unit(3), 2.0))
    assert draw.shape == (5, 3)


@pytest.mark.parametrize("shapes", [((3,), ()), ((4, 3), ()), ((5, 1, 3), (4,)), ((3,), (2, 1))], ids=str)
def test_infer_shapes_says_what_construction_gives(density, shapes):
    loc, concentration = shapes
    made = density(unit(*loc), torch.ones(concentration).double())
    assert density.infer_shapes(loc=loc, concentration=concentration) == (made.batch_shape, made.event_shape)


def test_a_plain_number_of_concentration_takes_the_dtype_of_loc(density):
    distribution = density(unit(3), 0.7)
    assert distribution.concentration.dtype == torch.float64
    assert distribution.concentration.item() == 0.7


MISTAKES = {
    "negative_concentration": lambda density: density(torch.eye(3)[0], -1.0),
    "location_too_long": lambda density: density(2 * torch.eye(3)[0], 1.0),
    "location_not_a_number": lambda density: density(torch.full((3,), math.nan), 1.0),
    "value_off_the_sphere": lambda density: density(torch.eye(3)[0], 1.0).log_prob(torch.ones(3)),
    "value_of_other_width": lambda density: density(torch.eye(3)[0], 1.0).log_prob(torch.eye(2)[0]),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_validation_refuses(density, mistake):
    with pytest.raises(ValueError):  # noqa: PT011 (the messages are torch's)
        mistake(density)


@pytest.mark.parametrize("loc", [torch.tensor(1.0), torch.ones(4, 1)], ids=["scalar", "one_feature"])
def test_fewer_than_two_features_are_refused_in_a_sentence(density, loc):
    with pytest.raises(ValueError, match="expects loc with a last dimension of two or more features"):
        density(loc, 1.0)
