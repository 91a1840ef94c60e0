"""The radial site."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pyro
import pytest
import scipy.stats
import torch
from numpyro import handlers
from pyro import poutine

from vje_ppl.models.radius import NoRadius, NormalRadius, StudentTRadius, base_measure_with, checked_radius
from vje_ppl.models.radius_scales import projected, unit
from vje_ppl.numpyro_port import polar as port_polar
from vje_ppl.numpyro_port import radius as port
from vje_ppl.numpyro_port import radius_scales as port_scales
from vje_ppl.program.polar import to_polar

N, D = 4, 5

each_scale = pytest.mark.parametrize("scale", ["unit", "projected"])


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents, scales and observed radii."""
    generator = torch.Generator().manual_seed(1)
    latent, noise = torch.randn(2, N, D, generator=generator, dtype=torch.float64)
    return latent, (0.5 * noise).exp(), 3 * torch.rand(N, generator=generator, dtype=torch.float64)


def site(radius: Callable, latent: torch.Tensor, scale: torch.Tensor, observed: torch.Tensor | None) -> dict:
    with poutine.trace() as traced, pyro.plate("images", N, dim=-1):
        radius(to_polar(latent), scale, observed)
    traced.trace.compute_log_prob()
    return {name: node for name, node in traced.trace.nodes.items() if node["type"] == "sample" and name != "images"}


@each_scale
@pytest.mark.parametrize("df", [0.5, 1.0, 30.0, None], ids=str)
def test_equals_scipy(df, scale):
    latent, sigma, observed = inputs()
    function = {"unit": unit, "projected": projected}[scale]
    radius = NormalRadius(function) if df is None else StudentTRadius(df, scale=function)
    (found,) = site(radius, latent, sigma, observed).values()
    length = latent.norm(dim=-1)
    spread = {"unit": torch.ones(N), "projected": (latent * sigma).norm(dim=-1) / length}[scale]
    density = scipy.stats.norm if df is None else scipy.stats.t(df)
    standardized = (observed - length) / spread
    expected = density.logpdf(standardized.numpy()) - spread.log().numpy()
    np.testing.assert_allclose(found["log_prob"].numpy(), expected, rtol=1e-12)
    assert (found["name"], found["is_observed"], found["fn"].event_shape) == ("radius", True, ())


def test_a_normal_is_the_limit_of_heavy_tails():
    latent, sigma, observed = inputs()
    df = 1e8
    (student,) = site(StudentTRadius(df).double(), latent, sigma, observed).values()
    (normal,) = site(NormalRadius(), latent, sigma, observed).values()
    # log StudentT_ν − log Normal = (m² − 2 m − 1) / 4ν + O(ν⁻²), m the squared residual, below 10.
    torch.testing.assert_close(student["log_prob"], normal["log_prob"], rtol=0, atol=25 / df)


@pytest.mark.parametrize("radius", [StudentTRadius(), NormalRadius()], ids=["student_t", "normal"])
def test_draws_without_an_observation(radius):
    latent, sigma, _ = inputs()
    (found,) = site(radius, latent, sigma, None).values()
    assert (found["value"].shape, found["is_observed"]) == ((N,), False)


def test_no_radius_declares_nothing():
    latent, sigma, observed = inputs()
    assert not site(NoRadius(), latent, sigma, observed)
    assert not site(NoRadius(), latent, sigma, None)


@pytest.mark.parametrize(
    "radius", [StudentTRadius(0.1, scale=projected), NormalRadius(projected)], ids=["student_t", "normal"]
)
def test_a_latent_near_zero_has_finite_values_and_gradients(radius):
    _, sigma, observed = inputs()
    for length in (0.0, 1e-30, 1e-12, 1e-6):
        latent = torch.full((N, D), length, requires_grad=True)
        sigma = sigma.float().requires_grad_()
        (found,) = site(radius, latent, sigma, observed.float()).values()
        assert torch.isfinite(found["log_prob"]).all()
        for gradient in torch.autograd.grad(found["log_prob"].sum(), (latent, sigma)):
            assert torch.isfinite(gradient).all()


@each_scale
@pytest.mark.parametrize("name", ["StudentTRadius", "NormalRadius", "NoRadius"])
def test_equals_its_twin_with_gradients(name, scale):
    latent, sigma, observed = inputs()
    latent.requires_grad_(), sigma.requires_grad_()
    options = {} if name == "NoRadius" else {"scale": {"unit": unit, "projected": projected}[scale]}
    ours = site(globals()[name](**options).double(), latent, sigma, observed)
    with jax.enable_x64(True):
        options = options and {"scale": getattr(port_scales, scale)}
        theirs = getattr(port, name)(**options)
        given = [jnp.asarray(one.detach().numpy()) for one in (latent, sigma, observed)]

        def total(latent, sigma, observed):
            def program():
                with numpyro.plate("images", N, dim=-1):
                    theirs(port_polar.to_polar(latent), sigma, observed)

            trace = handlers.trace(program).get_trace()
            return (
                sum(
                    one["fn"].log_prob(one["value"]).sum()
                    for one in trace.values()
                    if one["type"] == "sample" and one["is_observed"]
                )
                + 0 * latent.sum()
            )

        value, gradients = jax.value_and_grad(total, argnums=(0, 1))(*given)
    log_prob = sum((node["log_prob"].sum() for node in ours.values()), 0 * latent.sum() + 0 * sigma.sum())
    assert float(value) == pytest.approx(log_prob.item(), rel=1e-12)
    for mine, other in zip(torch.autograd.grad(log_prob, (latent, sigma)), gradients, strict=True):
        np.testing.assert_allclose(mine.numpy(), np.asarray(other), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("radius", [StudentTRadius(), NormalRadius()], ids=["student_t", "normal"])
def test_base_measure_with_a_radius_is_that_of_the_direction(radius):
    assert base_measure_with(radius, "sphere") == "sphere"


@pytest.mark.parametrize("radius", [NoRadius(), port.NoRadius()], ids=["pyro", "numpyro"])
def test_base_measure_without_a_radius_says_so(radius):
    measure = port.base_measure_with if isinstance(radius, port.NoRadius) else base_measure_with
    assert measure(radius, "sphere") == "sphere, direction only"


def test_a_name_for_the_radius_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"MyLikelihood expects a program as radius, .* likelihood/radius=student_t"):
        checked_radius("none", "MyLikelihood")
    assert checked_radius(len, "MyLikelihood") is len
