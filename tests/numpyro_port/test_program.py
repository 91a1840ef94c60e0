"""The port as a NumPyro program in its own right."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pyro
import pytest
import torch
from jax import random
from numpyro import handlers
from numpyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO, TraceMeanField_ELBO
from numpyro.infer.util import log_density
from pyro import poutine

from vje_ppl.guides import diagonal_normal as pyro_guide
from vje_ppl.models import vje as pyro_vje
from vje_ppl.models.likelihoods import polar_student_t as pyro_likelihood
from vje_ppl.models.priors.standard_normal import StandardNormal as PyroStandardNormal
from vje_ppl.numpyro_port.guides.diagonal_normal import DiagonalNormal, DiagonalNormalPosterior
from vje_ppl.numpyro_port.likelihoods.polar_student_t import PolarStudentT, factorized
from vje_ppl.numpyro_port.objective import SymmetricConditionalELBO
from vje_ppl.numpyro_port.polar import to_polar
from vje_ppl.numpyro_port.priors.standard_normal import StandardNormal
from vje_ppl.numpyro_port.radius import StudentTRadius
from vje_ppl.numpyro_port.radius_scales import projected
from vje_ppl.numpyro_port.scales import Free, Tied
from vje_ppl.numpyro_port.vje import VJE

N, D = 5, 4
KEY = random.key(0)


def _inputs(seed=0):
    rng = np.random.default_rng(seed)
    posteriors = [
        DiagonalNormalPosterior(
            jnp.asarray(rng.standard_normal((N, D)), jnp.float32),
            jnp.asarray(np.exp(0.3 * rng.standard_normal((N, D))), jnp.float32),
        )
        for _ in range(2)
    ]
    return posteriors, [jnp.asarray(rng.standard_normal((N, D)), jnp.float32) for _ in range(2)]


def _model(**likelihood):
    return VJE(StandardNormal(D), PolarStudentT(3.0, **likelihood))


def test_sites_and_plates_are_those_of_the_pyro_program():
    posteriors, embeddings = _inputs()
    ours = handlers.trace(handlers.seed(_model(), KEY)).get_trace(posteriors[0], embeddings[1])
    model = pyro_vje.VJE(PyroStandardNormal(D), pyro_likelihood.PolarStudentT(3.0))
    posterior = pyro_guide.DiagonalNormalPosterior(
        torch.tensor(np.asarray(posteriors[0].mean)), torch.tensor(np.asarray(posteriors[0].scale))
    )
    theirs = poutine.trace(model).get_trace(posterior, torch.tensor(np.asarray(embeddings[1])))
    ours = {name: site for name, site in ours.items() if site["type"] == "sample"}
    theirs = {
        name: site
        for name, site in theirs.nodes.items()
        if site["type"] == "sample" and not pyro.poutine.util.site_is_subsample(site)
    }
    assert list(ours) == list(theirs)
    for name, site in ours.items():
        other = theirs[name]
        assert site["is_observed"] == other["is_observed"]
        assert site["fn"].event_shape == tuple(other["fn"].event_shape)
        assert site["fn"].batch_shape == tuple(other["fn"].batch_shape)
        assert [frame.name for frame in site["cond_indep_stack"]] == [frame.name for frame in other["cond_indep_stack"]]


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
def test_stock_elbo_equals_the_sum_over_images_of_terms(elbo):
    posteriors, embeddings = _inputs()
    latent = posteriors[0].mean + 0.5 * posteriors[0].scale
    guide = handlers.substitute(DiagonalNormal(), data={"latent": latent})
    loss = elbo().loss(KEY, {}, _model(), guide, posteriors[0], embeddings[1])
    # Of two views that share posterior and embedding, both pairs are this one direction.
    both = handlers.substitute(DiagonalNormal(), data={"latent": jnp.stack([latent] * 2)})
    terms = SymmetricConditionalELBO().terms(KEY, _model(), both, [posteriors[0]] * 2, [embeddings[1]] * 2)
    expected = terms.elbo[0].sum()
    if elbo is Trace_ELBO:  # log q − log p of the draw rather than the closed form
        draws = posteriors[0].distribution().log_prob(latent) - StandardNormal(D)().log_prob(latent)
        expected = expected + (terms.kl[0] - draws).sum()
    assert -loss == pytest.approx(float(expected), rel=1e-5)


def test_log_density_is_the_sum_of_sites():
    posteriors, embeddings = _inputs()
    latent = posteriors[0].mean
    total, trace = log_density(_model(), (posteriors[0], embeddings[1]), {}, {"latent": latent})
    sites = [site for site in trace.values() if site["type"] == "sample"]
    assert float(total) == pytest.approx(
        float(sum(site["fn"].log_prob(site["value"]).sum() for site in sites)), rel=1e-5
    )


def test_predictive_draws_all_sites():
    posteriors, _ = _inputs()
    draws = Predictive(_model(direction=factorized, radius=StudentTRadius(scale=projected)), num_samples=3)(
        KEY, posteriors[0]
    )
    assert {name: draw.shape for name, draw in draws.items()} == {
        "latent": (3, N, D),
        "direction": (3, N, D),
        "radius": (3, N),
    }


def test_nuts_finds_the_posterior_of_a_sharp_radius():
    posterior, target = DiagonalNormalPosterior(jnp.zeros((1, 2)), jnp.full((1, 2), 0.1)), jnp.array([[3.0, 0.0]])
    model = VJE(StandardNormal(2), PolarStudentT(1000.0, radius=StudentTRadius(1000.0, scale=projected)))
    mcmc = MCMC(NUTS(model), num_warmup=200, num_samples=300, progress_bar=False)
    mcmc.run(KEY, posterior, target)
    latent = mcmc.get_samples()["latent"][:, 0]
    direction, radius = to_polar(latent)
    # Gaussian limit: the scale 0.1 against a prior of 1 leaves r near 3 (1 − 0.01), with a spread of 0.1.
    assert float(radius.mean()) == pytest.approx(2.98, abs=0.05)
    assert float(radius.std()) == pytest.approx(0.1, rel=0.35)
    assert float(direction[:, 0].mean()) > 0.98


def test_terms_run_under_jit_vmap_and_grad():
    posteriors, embeddings = _inputs()
    objective = SymmetricConditionalELBO(0.1, num_particles=3)

    def loss(posteriors, embeddings, key):
        return objective.terms(key, _model(), DiagonalNormal(), posteriors, embeddings).loss

    plain, by_both = jax.jit(jax.value_and_grad(loss, (0, 1)))(posteriors, embeddings, KEY)
    batch = jax.jit(jax.vmap(loss, in_axes=(None, None, 0)))(posteriors, embeddings, random.split(KEY, 4))
    assert jnp.all(jnp.isfinite(batch))
    assert len({float(one) for one in batch}) == 4
    alone = jax.jit(jax.vmap(loss, in_axes=(None, None, 0)))(posteriors, embeddings, KEY[None])
    assert float(alone[0]) == pytest.approx(float(plain), rel=1e-5)
    by_posterior, by_embedding = by_both
    assert all(jnp.all(jnp.isfinite(one)) and jnp.any(one != 0) for one in jax.tree.leaves(by_posterior))
    assert all(jnp.all(one == 0) for one in by_embedding)


def test_particles_are_averaged():
    posteriors, embeddings = _inputs()
    terms = SymmetricConditionalELBO(num_particles=4).terms(KEY, _model(), DiagonalNormal(), posteriors, embeddings)
    assert terms.latent.shape == (4, 2, N, D)
    per_particle = [
        SymmetricConditionalELBO().terms(
            KEY, _model(), handlers.substitute(DiagonalNormal(), data={"latent": draw}), posteriors, embeddings
        )
        for draw in terms.latent
    ]
    np.testing.assert_allclose(terms.elbo, np.mean([one.elbo for one in per_particle], 0), rtol=1e-4)


def test_masks_and_scales_are_honoured():
    posteriors, embeddings = _inputs()
    mask = jnp.arange(N) < 2

    def masked(program):
        return lambda *given: handlers.scale(handlers.mask(program, mask=mask), scale=2.0)(*given)

    latent = {"latent": jnp.stack([one.mean for one in posteriors])}
    guide = handlers.substitute(DiagonalNormal(), data=latent)
    plain = SymmetricConditionalELBO().terms(KEY, _model(), guide, posteriors, embeddings)
    found = SymmetricConditionalELBO().terms(KEY, masked(_model()), masked(guide), posteriors, embeddings)
    np.testing.assert_allclose(found.elbo, np.where(mask, 2 * plain.elbo, 0), rtol=1e-5)


def test_svi_trains_one_direction():
    posteriors, embeddings = _inputs()
    model = VJE(StandardNormal(D), PolarStudentT(3.0), Free(D, init=2.0))
    svi = SVI(model, DiagonalNormal(), numpyro.optim.Adam(0.05), TraceMeanField_ELBO())
    found = svi.run(KEY, 30, posteriors[0], embeddings[1], progress_bar=False)
    assert np.mean(found.losses[-5:]) < np.mean(found.losses[:5])
    assert jnp.all(found.params["scale.log_value"] != jnp.log(2.0))


def test_loss_trains_both_directions():
    posteriors, embeddings = _inputs()
    model = VJE(StandardNormal(D), PolarStudentT(3.0), Free(D, init=2.0))

    @jax.jit
    @jax.value_and_grad
    def loss(params, key):
        return SymmetricConditionalELBO().loss(key, params, model, DiagonalNormal(), posteriors, embeddings)

    params, losses = {"scale.log_value": jnp.log(jnp.full(D, 2.0))}, []
    for key in random.split(KEY, 20):
        value, slope = loss(params, key)
        losses.append(float(value))
        params = jax.tree.map(lambda one, by: one - 0.5 * by, params, slope)
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_detached_scale_gets_no_gradient_through_the_likelihood():
    scale = jnp.full((N, D), 0.7)
    assert jnp.all(jax.grad(lambda one: Tied(detach=True)(one).sum())(scale) == 0)
    assert jnp.all(jax.grad(lambda one: Tied()(one).sum())(scale) == 1)


def test_polar_of_zero_is_zero_with_a_finite_gradient():
    zero = jnp.zeros(D)
    assert to_polar(zero).radius == 0
    gradient = jax.grad(lambda vector: to_polar(vector).direction.sum() + to_polar(vector).radius)(zero)
    assert jnp.all(jnp.isfinite(gradient))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SymmetricConditionalELBO(-1.0), "beta >= 0"),
        (lambda: PolarStudentT(0.0), "positive degrees of freedom"),
        (lambda: Free(D, init=0.0), "positive initial scale"),
        (lambda: SymmetricConditionalELBO().terms(KEY, _model(), DiagonalNormal(), [], []), "two or more views"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_missing_latent_site_is_named():
    posteriors, embeddings = _inputs()

    def guide(posterior, target):
        with numpyro.plate("images", N, dim=-1):
            numpyro.sample("other", posterior.distribution())

    with pytest.raises(ValueError, match="'latent' is missing in the guide"):
        SymmetricConditionalELBO().terms(KEY, _model(), guide, posteriors, embeddings)
