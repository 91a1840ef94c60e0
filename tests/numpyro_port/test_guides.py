"""The twins of the guides: the same densities from the same arrays, in NumPyro's own machinery."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import random
from numpyro import handlers
from torch import nn

from vje_ppl.distributions.coupling_flow import CouplingFlow as TorchCouplingFlow
from vje_ppl.guides.flow import FlowPosterior as TorchFlowPosterior
from vje_ppl.guides.low_rank_normal import LowRankNormalPosterior as TorchLowRankNormalPosterior
from vje_ppl.numpyro_port.distributions.coupling_flow import CouplingFlow
from vje_ppl.numpyro_port.distributions.kl import closed_form_kl
from vje_ppl.numpyro_port.guides.flow import Flow, FlowPosterior
from vje_ppl.numpyro_port.guides.low_rank_normal import LowRankNormal, LowRankNormalPosterior
from vje_ppl.numpyro_port.likelihoods.polar_student_t import PolarStudentT
from vje_ppl.numpyro_port.objective import SymmetricConditionalELBO
from vje_ppl.numpyro_port.priors.standard_normal import StandardNormal
from vje_ppl.numpyro_port.vje import VJE

N, D, R = 5, 4, 2
KEY = random.key(0)
MODEL = VJE(StandardNormal(D), PolarStudentT(3.0))


def torch_flow() -> TorchCouplingFlow:
    torch.manual_seed(0)
    made = TorchCouplingFlow(D).double()
    for layer in made.layers:
        nn.init.normal_(layer.output.weight, std=0.4)
    return made


def flow(dtype=jnp.float32) -> CouplingFlow:
    return CouplingFlow({name: jnp.asarray(one.detach(), dtype) for name, one in torch_flow().named_parameters()})


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "mean": rng.standard_normal((N, D)),
        "scale": np.exp(0.3 * rng.standard_normal((N, D))),
        "loadings": rng.standard_normal((N, D, R)),
        "value": rng.standard_normal((7, N, D)),
    }


def posteriors(kind: str, dtype=jnp.float32) -> list:
    found = []
    for seed in (0, 1):
        given = {name: jnp.asarray(one, dtype) for name, one in arrays(seed).items()}
        if kind == "flow":
            found.append(FlowPosterior(given["mean"], given["scale"], flow(dtype)))
        else:
            found.append(LowRankNormalPosterior(given["mean"], given["scale"], given["loadings"]))
    return found


GUIDES = {"low_rank_normal": LowRankNormal(), "flow": Flow()}
SCORE = jax.jit(lambda posterior, value: posterior.distribution().log_prob(value))
each_kind = pytest.mark.parametrize("kind", GUIDES)


def test_flow_and_inverse_are_those_of_torch():
    given = {name: one[0] if name == "value" else one for name, one in arrays().items()}
    value, context = torch.as_tensor(given["value"]), torch.as_tensor(given["mean"])
    with jax.enable_x64(True), torch.no_grad():
        ours, theirs = torch_flow(), flow(jnp.float64)
        for one, other in ((ours, theirs), (ours.inverse, theirs.inverse)):
            expected = one(value, context)
            compiled = jax.jit(lambda value, context, call=other: call(value, context))  # a bound method has no hash
            found = compiled(jnp.asarray(given["value"]), jnp.asarray(given["mean"]))
            for ours_said, theirs_said in zip(expected, found, strict=True):
                np.testing.assert_allclose(ours_said, theirs_said, rtol=1e-12, atol=1e-12)


@each_kind
def test_density_is_that_of_torch(kind):
    given = {name: torch.as_tensor(one) for name, one in arrays().items()}
    if kind == "flow":
        ours = TorchFlowPosterior(given["mean"], given["scale"], torch_flow())
    else:
        ours = TorchLowRankNormalPosterior(given["mean"], given["scale"], given["loadings"])
    with jax.enable_x64(True):
        theirs = SCORE(posteriors(kind, jnp.float64)[0], jnp.asarray(arrays()["value"]))
    np.testing.assert_allclose(ours.distribution().log_prob(given["value"]).detach(), theirs, rtol=1e-11)


def test_a_draws_density_with_what_the_flow_remembers_is_that_without():
    def both(posterior):
        distribution = posterior.distribution()
        value, intermediates = distribution.sample_with_intermediates(KEY, (3,))
        return distribution.log_prob(value, intermediates), distribution.log_prob(value)

    with jax.enable_x64(True):
        remembered, inverted = jax.jit(both)(posteriors("flow", jnp.float64)[0])
    assert remembered.shape == (3, N)
    np.testing.assert_allclose(remembered, inverted, rtol=1e-11)


@each_kind
def test_a_pair_of_posteriors_is_two_posteriors(kind):
    given = posteriors(kind)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *given)
    value = jnp.asarray(arrays()["value"], jnp.float32)
    found = SCORE(stacked, value[:, None])
    for pair, one in enumerate(given):
        np.testing.assert_allclose(found[:, pair], SCORE(one, value), rtol=1e-5)


@each_kind
def test_objective_runs_under_jit_and_grad_with_several_particles(kind):
    objective = SymmetricConditionalELBO(0.1, num_particles=3)
    embeddings = [jnp.asarray(arrays(seed)["value"][0], jnp.float32) for seed in (2, 3)]

    def loss(given, key):
        terms = objective.terms(key, MODEL, GUIDES[kind], given, embeddings)
        return terms.loss, terms

    (_, terms), slope = jax.jit(jax.value_and_grad(loss, has_aux=True))(posteriors(kind), KEY)
    assert terms.latent.shape == (3, 2, N, D)
    assert terms.kl.shape == (2, N)
    assert all(jnp.all(jnp.isfinite(one)) and jnp.any(one != 0) for one in jax.tree.leaves(slope))


@each_kind
def test_kl_is_in_closed_form_or_that_of_the_given_latent(kind):
    given, prior = posteriors(kind), StandardNormal(D)()
    latent = jnp.stack([one.mean + 0.5 * one.scale for one in given])
    guide = handlers.substitute(GUIDES[kind], data={"latent": latent})
    embeddings = [jnp.asarray(arrays(seed)["value"][0], jnp.float32) for seed in (2, 3)]
    kl = jax.jit(lambda given: SymmetricConditionalELBO().terms(KEY, MODEL, guide, given, embeddings).kl)(given)
    for pair, one in enumerate(given):
        expected = closed_form_kl(one.distribution(), prior)
        assert (expected is None) == (kind == "flow")
        if expected is None:
            expected = one.distribution().log_prob(latent[pair]) - prior.log_prob(latent[pair])
        np.testing.assert_allclose(kl[pair], expected, rtol=1e-4)
