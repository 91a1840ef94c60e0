"""The priors' twins: the same density, gradient and divergence for the same parameters, and draws of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pyro.distributions as pyro_dist
import pytest
import torch
from jax import random
from numpyro import handlers

from vje_ppl.distributions.kl import closed_form_kl as pyro_kl
from vje_ppl.guides.diagonal_normal import DiagonalNormalPosterior as PyroPosterior
from vje_ppl.models.priors import ard_normal, laplace, mixture, student_t, vamp
from vje_ppl.numpyro_port.distributions import Mixture
from vje_ppl.numpyro_port.distributions.kl import closed_form_kl
from vje_ppl.numpyro_port.guides.diagonal_normal import DiagonalNormalPosterior
from vje_ppl.numpyro_port.priors import ard_normal as ard_port
from vje_ppl.numpyro_port.priors import laplace as laplace_port
from vje_ppl.numpyro_port.priors import mixture as mixture_port
from vje_ppl.numpyro_port.priors import student_t as student_t_port
from vje_ppl.numpyro_port.priors import vamp as vamp_port

N, D, K, RANK = 5, 4, 3, 2
KEY = random.key(0)


@dataclass(frozen=True)
class Case:
    """A prior in Pyro, its twin, and the latter's options."""

    prior: Callable[..., Any]
    twin: Callable[..., Any]
    options: dict[str, Any]


CASES = {
    "ard_normal": Case(ard_normal.ARDNormal, ard_port.ARDNormal, {"init": 0.7}),
    "student_t": Case(student_t.StudentTPrior, student_t_port.StudentTPrior, {"df": 2.5}),
    "laplace": Case(laplace.LaplacePrior, laplace_port.LaplacePrior, {"scale": 0.75}),
    "mixture": Case(mixture.NormalMixture, mixture_port.NormalMixture, {"components": K, "spread": 0.8}),
    "vamp": Case(vamp.VampPrior, vamp_port.VampPrior, {"components": K, "init_scale": 2.0}),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
CLOSED, LEARNED = ("ard_normal", "laplace"), ("ard_normal", "mixture", "vamp")


def both(case: Case) -> tuple[Any, Callable]:
    """The prior with moved parameters, and its twin with the same, seeded; pseudo-embeddings are posterior means."""
    prior, twin = case.prior(D, **case.options).double(), case.twin(D, **case.options)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    if hasattr(prior, "bind"):
        prior.bind(lambda embedding: PyroPosterior(embedding, 0.1 + embedding.square()))
        twin.bind(lambda embedding: DiagonalNormalPosterior(embedding, 0.1 + jnp.square(embedding)))
    values = {f"prior.{name}": jnp.asarray(one.detach().numpy()) for name, one in prior.named_parameters()}
    return prior, handlers.substitute(twin, data=values)


@each_case
def test_density_and_gradient_equal_pyros(case):
    with jax.enable_x64(True):
        prior, twin = both(case)
        value = torch.randn(2, N, D).double().requires_grad_()
        theirs = prior().log_prob(value)
        (expected,) = torch.autograd.grad(theirs.sum(), value)
        given = jnp.asarray(value.detach().numpy())
        np.testing.assert_allclose(twin().log_prob(given), theirs.detach(), rtol=1e-11)
        found = jax.jit(jax.grad(lambda x: twin().log_prob(x).sum()))(given)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        assert (twin().batch_shape, twin().event_shape) == ((), (D,))


@pytest.mark.parametrize("name", LEARNED)
def test_gradient_by_the_parameters_equals_pyros(name):
    with jax.enable_x64(True):
        prior, twin = both(CASES[name])
        value = torch.randn(N, D).double()
        named = dict(prior.named_parameters())
        expected = torch.autograd.grad(prior().log_prob(value).sum(), list(named.values()))
        given = {f"prior.{name}": jnp.asarray(one.detach().numpy()) for name, one in named.items()}

        @jax.jit
        @jax.grad
        def found(values: dict[str, jax.Array]) -> jax.Array:
            return handlers.substitute(twin.fn, data=values)().log_prob(jnp.asarray(value.numpy())).sum()

        gradients = found(given)
        for path, other in zip(given, expected, strict=True):
            np.testing.assert_allclose(gradients[path], other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("guide", ["diagonal", "low_rank"])
@pytest.mark.parametrize("name", CASES)
def test_divergence_equals_pyros_or_has_no_closed_form_in_either(name, guide):
    rng = np.random.default_rng(0)
    loc, log_scale, factor = (rng.standard_normal(shape) for shape in ((N, D), (N, D), (D, RANK)))
    scale = np.exp(log_scale)
    with jax.enable_x64(True):
        prior, twin = both(CASES[name])
        p, other = twin(), prior()
        if guide == "diagonal":
            q: Any = dist.Normal(loc, scale).to_event(1)
            their_q = pyro_dist.Normal(torch.tensor(loc), torch.tensor(scale)).to_event(1)
        else:
            q = dist.LowRankMultivariateNormal(loc, factor, scale)
            their_q = pyro_dist.LowRankMultivariateNormal(*map(torch.tensor, (loc, factor, scale)))
        kl, theirs = closed_form_kl(q, p), pyro_kl(their_q, other)
        expanded = closed_form_kl(q, p.expand((2, N)))
        if name not in CLOSED:
            assert kl is theirs is expanded is None
            return
        np.testing.assert_allclose(kl, theirs.detach(), rtol=1e-11)
        np.testing.assert_allclose(expanded, np.stack([theirs.detach()] * 2), rtol=1e-11)


@each_case
def test_starts_as_the_pyro_prior_does_and_draws_in_plates(case):
    twin = case.twin(D, **case.options)
    if hasattr(twin, "bind"):
        twin.bind(lambda embedding: DiagonalNormalPosterior(embedding, jnp.ones_like(embedding)))
    traces = [handlers.trace(handlers.seed(twin, random.key(seed))).get_trace() for seed in (0, 0, 1)]
    prior = case.prior(D, **case.options)
    fixed = {f"prior.{name}": one for name, one in prior.named_parameters() if name not in ("loc", "pseudo_embeddings")}
    assert set(traces[0]) == {f"prior.{name}" for name, _ in prior.named_parameters()}
    for name, site in traces[0].items():
        assert jnp.array_equal(site["value"], traces[1][name]["value"])
        if name in fixed:
            np.testing.assert_allclose(site["value"], fixed[name].detach(), rtol=1e-6)
        else:
            assert not jnp.array_equal(site["value"], traces[2][name]["value"])
    draw = handlers.seed(twin, KEY)().expand((2, N)).sample(KEY)
    assert draw.shape == (2, N, D)
    assert jnp.all(jnp.isfinite(draw))


def test_mixture_is_a_pytree_that_draws_its_components():
    loc = jnp.array([[5.0, 0.0], [-5.0, 0.0]])
    mixture = Mixture(jnp.log(jnp.array([0.8, 0.2])), dist.Normal(loc, 0.1).to_event(1))
    rebuilt = jax.tree.unflatten(*jax.tree.flatten(mixture)[::-1])
    assert isinstance(rebuilt, Mixture)
    assert jnp.array_equal(rebuilt.log_prob(loc), mixture.log_prob(loc))
    share = (mixture.sample(KEY, (10_000,))[:, 0] > 0).mean()
    assert abs(share - 0.8) <= 5 * (0.8 * 0.2 / 10_000) ** 0.5


REFUSED = {
    "ard_normal": (lambda: ard_port.ARDNormal(D, 0.0), "positive initial scale"),
    "student_t": (lambda: student_t_port.StudentTPrior(D, 0.0), "positive degrees of freedom"),
    "laplace": (lambda: laplace_port.LaplacePrior(D, 0.0), "positive scale"),
    "mixture": (lambda: mixture_port.NormalMixture(D, 0), "components >= 1"),
    "vamp": (lambda: vamp_port.VampPrior(D, 0), "components >= 1"),
    "vamp_before_bind": (lambda: vamp_port.VampPrior(D)(), r"call prior\.bind\(infer\)"),
}


@pytest.mark.parametrize(("call", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_gets_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
