"""The polar Normal likelihood against SciPy, and as the limit of the polar Student-t."""

from __future__ import annotations

import numpy as np
import pyro
import pytest
import scipy.stats
import torch
from pyro import poutine
from pyro.nn import PyroModule

from vje_ppl.distributions import DiagonalStudentT
from vje_ppl.models.likelihoods.polar_normal import PolarNormal
from vje_ppl.models.likelihoods.polar_student_t import PolarStudentT, factorized
from vje_ppl.models.radius import NoRadius, NormalRadius, StudentTRadius
from vje_ppl.models.radius_scales import projected

N, D = 4, 5


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    latent, target = torch.randn(2, N, D, generator=generator, dtype=torch.float64)
    return latent, torch.rand(N, D, generator=generator, dtype=torch.float64) + 0.3, 2 * target


def sites(likelihood: PyroModule, *arguments: torch.Tensor | None) -> dict:
    with poutine.trace() as traced, pyro.plate("images", N, dim=-1):
        likelihood(*arguments)
    traced.trace.compute_log_prob()
    return {name: node for name, node in traced.trace.nodes.items() if node["type"] == "sample" and name != "images"}


def test_sites_equal_scipy():
    latent, scale, target = inputs()
    found = sites(PolarNormal(), latent, scale, target)
    s, z = latent.numpy(), target.numpy()
    length, radius = (np.linalg.norm(one, axis=-1) for one in (s, z))
    for i in range(N):
        expected = scipy.stats.multivariate_normal.logpdf(
            z[i] / radius[i], s[i] / length[i], np.diag(scale[i].square().numpy())
        )
        assert found["direction"]["log_prob"][i].item() == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(found["radius"]["log_prob"].numpy(), scipy.stats.norm.logpdf(radius, length), rtol=1e-10)
    assert [found[name]["fn"].event_shape for name in ("direction", "radius")] == [(D,), ()]


@pytest.mark.parametrize("direction", [DiagonalStudentT, factorized], ids=["joint", "factorized"])
def test_is_the_limit_of_the_polar_student_t(direction):
    arguments = inputs()
    normal = sites(PolarNormal(NormalRadius(projected)), *arguments)
    gaps = []
    for df in (1e4, 1e6):
        heavy = PolarStudentT(df, direction=direction, radius=StudentTRadius(df, scale=projected))
        student = sites(heavy.double(), *arguments)
        gaps.append([(student[name]["log_prob"] - normal[name]["log_prob"]).abs() for name in normal])
    # The gap falls as 1/ν: a hundredth of it is left at a hundred times the ν, up to a term of order 1/ν².
    for wide, narrow in zip(*gaps, strict=True):
        assert (wide > 1e-6).all()
        torch.testing.assert_close(100 * narrow, wide, rtol=0.05, atol=0)


def test_draws_both_sites_without_a_target_and_learns_nothing():
    latent, scale, _ = inputs()
    found = sites(PolarNormal(), latent, scale, None)
    assert {name: tuple(site["value"].shape) for name, site in found.items()} == {"direction": (N, D), "radius": (N,)}
    assert not list(PolarNormal().parameters())


def test_without_a_radius_the_direction_is_left():
    likelihood = PolarNormal(NoRadius())
    assert set(sites(likelihood, *inputs())) == {"direction"}
    assert (likelihood.base_measure, PolarNormal().base_measure) == ("polar, direction only", "polar")


def test_gradients_pass_gradcheck():
    likelihood = PolarNormal(NormalRadius(projected))

    def log_probs(*arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(site["log_prob"] for site in sites(likelihood, *arguments).values())

    assert torch.autograd.gradcheck(log_probs, tuple(tensor.requires_grad_() for tensor in inputs()))


@pytest.mark.parametrize("length", [0.0, 1e-6, 1.0, 1e4])
@pytest.mark.parametrize("sigma", [1e-4, 1e2])
def test_values_and_gradients_are_finite_over_many_decades(sigma, length):
    latent, _, target = (tensor.float() for tensor in inputs())
    latent, scale = (length * latent).requires_grad_(), torch.full((N, D), sigma).requires_grad_()
    total = sum(site["log_prob"].sum() for site in sites(PolarNormal(), latent, scale, target).values())
    assert torch.isfinite(total)
    for gradient in torch.autograd.grad(total, (latent, scale)):
        assert torch.isfinite(gradient).all()
