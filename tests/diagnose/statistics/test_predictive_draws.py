"""Draws from programs of every likelihood, ranked against targets that were made to fit, and not to fit."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule

from tests.helpers.cases import LIKELIHOODS, built
from vje_ppl.diagnose.statistics.pit import pit_by_rank, uniformity
from vje_ppl.diagnose.statistics.predictive_draws import COSINE, RADIUS, predictive_draws
from vje_ppl.errors import UserError
from vje_ppl.guides.diagonal_normal import DiagonalNormalPosterior
from vje_ppl.measures.anomaly.conditional_densities import draw_latents, draw_observations
from vje_ppl.measures.anomaly.traced import map_posterior
from vje_ppl.program.polar import to_polar

N, D = 300, 6
every_likelihood = pytest.mark.parametrize("case", LIKELIHOODS, ids=str)


@cache
def program(case):
    return built(likelihood=case, dim=D).eval()


@torch.no_grad()
def fitting(module, faulty=lambda posterior: posterior):
    """Posteriors, and targets drawn from the program under them, with a fault planted."""
    torch.manual_seed(1)
    posterior = DiagonalNormalPosterior(2 * torch.randn(N, D), 0.05 + 0.2 * torch.rand(N, D))
    wrong = map_posterior(faulty(posterior), lambda one: one.unsqueeze(0))
    latents = draw_latents(module, wrong, torch.zeros(1, N, D), 1, 12345, torch.arange(N))
    drawn = {name: value[0, 0] for name, value in draw_observations(module, wrong, latents).items()}
    if "embedding" in drawn:
        return posterior, drawn["embedding"]
    return posterior, to_polar(drawn["direction"]).direction * drawn.get("radius", torch.ones(N)).abs()[:, None]


def drawn(module, posterior, target, samples=50, images=None, seed=0):
    images = torch.arange(N) if images is None else images
    return predictive_draws(module, posterior, posterior, target, images, samples, seed)


def distances(found):
    rng = np.random.default_rng(0)
    return {name: uniformity(pit_by_rank(one.drawn, one.observed, rng)) for name, one in found.statistics.items()}


@every_likelihood
def test_predictive_draws_have_the_statistics_of_the_sites(case):
    found = drawn(program(case), *fitting(program(case)))

    expected = {COSINE} if case.sites == {"direction"} else {COSINE, RADIUS}
    assert set(found.statistics) == expected
    for one in found.statistics.values():
        assert one.drawn.shape == (50, N)
        assert one.observed.shape == (N,)
        assert np.isfinite(one.drawn).all()
    cosine = found.statistics[COSINE]
    for values in (cosine.drawn, cosine.observed):
        assert (np.abs(values) <= 1 + 1e-6).all()
    off_the_sphere = case.base_measure.startswith("polar")
    assert (found.lengths is not None) is off_the_sphere
    if RADIUS in found.statistics:
        assert found.negative == (found.statistics[RADIUS].drawn < 0).mean()


@every_likelihood
def test_predictive_draws_rank_targets_of_the_program_uniformly(case):
    found = distances(drawn(program(case), *fitting(program(case))))

    assert found[COSINE].distance < found[COSINE].chance
    if case.base_measure == "cartesian":  # elsewhere a drawn radius may be negative, which no observed one is
        assert found[RADIUS].distance < found[RADIUS].chance


@pytest.mark.parametrize("name", ["polar_student_t", "polar_von_mises_fisher", "cartesian_student_t"])
@pytest.mark.parametrize("factor", [0.2, 5.0], ids=["too wide", "too narrow"])
def test_predictive_draws_do_not_rank_targets_of_another_scale_uniformly(name, factor):
    module = program(next(case for case in LIKELIHOODS if str(case) == name))
    posterior, target = fitting(module, lambda one: type(one)(one.mean, factor * one.scale))

    found = distances(drawn(module, posterior, target))[COSINE]

    assert found.distance > 2 * found.chance
    assert (found.mean > 0.5) is (factor < 1)


def test_predictive_draws_belong_to_seed_and_block_of_images():
    module = program(LIKELIHOODS[0])
    posterior, target = fitting(module)
    whole = drawn(module, posterior, target)

    state = torch.get_rng_state()
    again = drawn(module, posterior, target)
    assert torch.equal(torch.get_rng_state(), state)
    rows = slice(64, 192)  # two blocks of 64
    part = drawn(module, map_posterior(posterior, lambda one: one[rows]), target[rows], images=torch.arange(64, 192))
    other = drawn(module, posterior, target, seed=1)

    for name, one in whole.statistics.items():
        assert (again.statistics[name].drawn == one.drawn).all()
        assert (part.statistics[name].drawn == one.drawn[:, rows]).all()
        assert not (other.statistics[name].drawn == one.drawn).any()


def test_predictive_draws_take_latents_from_one_posterior_and_scales_from_the_other():
    module = program(next(case for case in LIKELIHOODS if str(case) == "cartesian_student_t"))
    given, target = fitting(module)
    nearly_a_point = type(given)(given.mean, given.scale * 1e-6)

    spread = predictive_draws(module, given, nearly_a_point, target, torch.arange(N), 400, 0).statistics[RADIUS].drawn
    latents = draw_latents(
        module, map_posterior(given, lambda one: one.unsqueeze(0)), target[None], 400, 0, torch.arange(N)
    )["latent"].norm(dim=-1)[:, 0]

    # Nothing but the latents varies: medians of the spread of 400 draws, of N images
    assert np.median(spread.std(0)) == pytest.approx(float(latents.std(0).median()), rel=0.1)


class OtherSite(PyroModule):
    def forward(self, latent, scale, target=None):
        pyro.sample("pixels", dist.Normal(latent, scale).to_event(1), obs=target)


class Undrawable(dist.Normal):
    def rsample(self, sample_shape=()):
        raise NotImplementedError

    sample = rsample


class NoSampler(PyroModule):
    def forward(self, latent, scale, target=None):
        pyro.sample("embedding", Undrawable(latent, scale).to_event(1), obs=target)


@pytest.mark.parametrize(
    ("likelihood", "said"),
    [
        pytest.param(OtherSite(), "the likelihood declares pixels", id="unknown site"),
        pytest.param(NoSampler(), "has no sample()", id="no sampler"),
    ],
)
def test_predictive_draws_say_in_one_sentence_what_they_cannot_do(likelihood, said):
    module = built(dim=D).eval()
    module.model.likelihood = likelihood
    posterior = module.guide.infer(torch.randn(N, D))

    with pytest.raises(UserError, match=re.escape(said)):
        drawn(module, posterior, torch.randn(N, D))
