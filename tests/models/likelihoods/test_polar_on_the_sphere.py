"""Polar likelihoods whose direction is normalized on the sphere: what they make of the shared scale, and edges."""

from __future__ import annotations

import math
from typing import Any

import pyro
import pytest
import scipy.stats
import torch
from pyro import poutine
from pyro.distributions import constraints
from torch import Tensor

from vje_ppl.models.likelihoods.polar_power_spherical import PolarPowerSpherical
from vje_ppl.models.likelihoods.polar_student_t import PolarStudentT
from vje_ppl.models.likelihoods.polar_von_mises_fisher import PolarVonMisesFisher
from vje_ppl.models.radius import NoRadius

N, D = 4, 5
LIKELIHOODS = {"von_mises_fisher": PolarVonMisesFisher, "power_spherical": PolarPowerSpherical}


@pytest.fixture(params=LIKELIHOODS.values(), ids=LIKELIHOODS)
def likelihood(request) -> Any:
    return request.param


def inputs(dtype: torch.dtype = torch.float64, dim: int = D) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(N, dim, generator=generator, dtype=torch.float64)
    scale = torch.rand(N, dim, generator=generator, dtype=torch.float64) + 0.1
    target = 3 * torch.randn(N, dim, generator=generator, dtype=torch.float64)
    return latent.to(dtype), scale.to(dtype), target.to(dtype)


def sites(program: Any, *arguments: Tensor | None) -> dict:
    with poutine.trace() as traced, pyro.plate("images", N, dim=-1):
        program(*arguments)
    traced.trace.compute_log_prob()
    return {name: site for name, site in traced.trace.nodes.items() if name in ("direction", "radius")}


def test_von_mises_fisher_direction_equals_scipy_at_one_over_the_squared_geometric_mean():
    latent, scale, target = inputs()
    found = sites(PolarVonMisesFisher().double(), latent, scale, target)["direction"]["log_prob"]
    for i in range(N):
        mean, value = (one[i].numpy() / (one[i].numpy() @ one[i].numpy()) ** 0.5 for one in (latent, target))
        concentration = 1 / scipy.stats.gmean(scale[i].numpy()) ** 2
        expected = scipy.stats.vonmises_fisher(mean, concentration).logpdf(value)
        assert found[i].item() == pytest.approx(expected, rel=1e-12)


def test_power_spherical_direction_equals_the_published_density_at_two_over_the_squared_geometric_mean():
    latent, scale, target = inputs()
    found = sites(PolarPowerSpherical().double(), latent, scale, target)["direction"]["log_prob"]
    for i in range(N):
        mean, value = (one[i].numpy() / (one[i].numpy() @ one[i].numpy()) ** 0.5 for one in (latent, target))
        concentration = 2 / scipy.stats.gmean(scale[i].numpy()) ** 2
        # (1 + t)/2 ~ Beta(α, β) for the cosine t, whose density is p(x) |S^(D−2)| (1 − t²)^((D−3)/2).
        cosine, half = mean @ value, (D - 1) / 2
        area = math.log(2) + half * math.log(math.pi) - math.lgamma(half)
        beta = scipy.stats.beta(half + concentration, half).logpdf((1 + cosine) / 2) - math.log(2)
        expected = beta - area - (half - 1) * math.log(1 - cosine**2)
        assert found[i].item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("dim", [2, 16])
@pytest.mark.parametrize("sigma", [0.01, 0.3, 2.0])
def test_curvature_at_the_mode_is_minus_one_over_the_squared_scale(likelihood, sigma, dim):
    latent, _, _ = inputs(dim=dim)
    across = torch.randn(N, dim).double()
    unit = latent / latent.norm(dim=-1, keepdim=True)
    across = across - (across * unit).sum(-1, keepdim=True) * unit
    across = across / across.norm(dim=-1, keepdim=True)
    angle = torch.zeros(N, 1).double().requires_grad_()
    target = angle.cos() * unit + angle.sin() * across
    log_prob = sites(likelihood().double(), latent, torch.full((N, dim), sigma).double(), target)["direction"][
        "log_prob"
    ]
    (slope,) = torch.autograd.grad(log_prob.sum(), angle, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), angle)
    torch.testing.assert_close(slope, torch.zeros(N, 1).double(), rtol=0, atol=1e-10 / sigma**2)
    torch.testing.assert_close(curvature, torch.full((N, 1), -(sigma**-2)).double(), rtol=1e-6, atol=0)


def test_scales_enter_by_their_geometric_mean_alone(likelihood):
    latent, scale, target = inputs()
    mean = scale.log().mean(-1, keepdim=True).exp().expand_as(scale).contiguous()
    found, expected = (
        sites(likelihood().double(), latent, one, target)["direction"]["log_prob"] for one in (scale, mean)
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_radius_is_the_one_of_the_polar_student_t(likelihood):
    found, expected = (sites(one().double(), *inputs())["radius"]["log_prob"] for one in (likelihood, PolarStudentT))
    assert torch.equal(found, expected)


def test_without_a_radius_there_is_one_site_and_the_base_measure_says_so(likelihood):
    program = likelihood(NoRadius())
    assert set(sites(program.double(), *inputs())) == {"direction"}
    assert (likelihood().base_measure, program.base_measure) == ("sphere", "sphere, direction only")


def test_draws_a_direction_on_the_sphere_and_a_radius_without_a_target(likelihood):
    latent, scale, _ = inputs()
    found = sites(likelihood().double(), latent, scale, None)
    assert not any(site["is_observed"] for site in found.values())
    assert constraints.sphere.check(found["direction"]["value"]).all()
    assert found["radius"]["value"].shape == (N,)


def test_broadcasts_over_particles(likelihood):
    latent, scale, target = inputs()
    program = likelihood().double()
    together = sites(program, torch.stack([latent, 2 * latent + 1]), scale, target)["direction"]["log_prob"]
    alone = sites(program, 2 * latent + 1, scale, target)["direction"]["log_prob"]
    torch.testing.assert_close(together[1], alone)


def test_gradients_pass_gradcheck(likelihood):
    latent, scale, target = (tensor.requires_grad_() for tensor in inputs())
    program = likelihood().double()

    def log_probs(*arguments: Tensor) -> tuple[Tensor, ...]:
        return tuple(site["log_prob"] for site in sites(program, *arguments).values())

    assert torch.autograd.gradcheck(log_probs, (latent, scale, target))


@pytest.mark.parametrize("length", [0.0, 1e-6, 1e4])
@pytest.mark.parametrize("sigma", [1e-4, 1.0, 1e2])
@pytest.mark.parametrize("dim", [2, 2048])
def test_values_and_gradients_are_finite_over_many_decades(likelihood, dim, sigma, length):
    latent, _, target = inputs(torch.float32, dim)
    latent, scale = (length * latent).requires_grad_(), torch.full((N, dim), sigma).requires_grad_()
    target[0], target[1] = (
        latent[0].detach() + target[0] * (length == 0),
        -latent[1].detach() + target[1] * (length == 0),
    )
    total = sum(site["log_prob"].sum() for site in sites(likelihood(), latent, scale, target).values())
    assert torch.isfinite(total)
    for gradient in torch.autograd.grad(total, (latent, scale)):
        assert torch.isfinite(gradient).all()
