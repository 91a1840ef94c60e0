"""NUTS on the polar Student-t, where posteriors are not Gaussian, against quadrature and a sampler of another kind."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy import stats

from vje_ppl.diagnose.posterior.nuts import NUTSOptions, convergence
from vje_ppl.diagnose.posterior.ported_program import PortedProgram
from vje_ppl.diagnose.posterior.problem import BAYESIAN, PosteriorProblem, Power
from vje_ppl.diagnose.posterior.reference import Reference
from vje_ppl.numpyro_port.likelihoods.polar_student_t import PolarStudentT
from vje_ppl.numpyro_port.priors.standard_normal import StandardNormal

SCALE = np.array([[0.3, 0.6], [0.2, 0.25]], np.float32)
TARGET = np.array([[1.2, 0.5], [-0.4, 1.9]], np.float32)
TEMPERED = Power("tempered", 4.0, "the posterior tempered by 4")


def log_joint(latent, image, power):
    """The polar Student-t at ν = 1 by SciPy: one Mahalanobis term for the direction, one Student-t for the radius."""
    target, radius = TARGET[image].astype(float), np.linalg.norm(latent, axis=-1)
    observed_radius = np.linalg.norm(target)
    direction = stats.multivariate_t(target / observed_radius, np.diag(np.square(SCALE[image].astype(float))), df=1)
    likelihood = direction.logpdf(latent / radius[..., None]) + stats.t.logpdf(observed_radius, 1, radius)
    return stats.norm.logpdf(latent).sum(-1) + power * likelihood


@pytest.fixture(scope="module")
def reference():
    program = PortedProgram(StandardNormal(2), PolarStudentT(df=1.0))
    observed = {
        name: np.asarray(one)[None] for name, one in program.observe(jnp.asarray(SCALE), jnp.asarray(TARGET)).items()
    }
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((600, 2, 2)).astype(np.float32)
    problem = PosteriorProblem(
        program=program,
        scale=SCALE,
        observed=observed,
        start=TARGET[None],
        guide_mean=np.zeros((2, 2), np.float32),
        guide_scale=np.ones((2, 2), np.float32),
        guide_draws=draws,
        guide_log_prob=stats.norm.logpdf(draws).sum(-1),
        guide_is_diagonal=True,
        beta=0.25,
        seed=0,
        sampler_scale=SCALE,
    )
    return Reference(problem, NUTSOptions(chains=4, warmup=150, draws=400, thin=2, max_tree_depth=5), quiet=True)


@pytest.fixture(scope="module", params=[BAYESIAN, TEMPERED], ids=["bayesian", "tempered"])
def case(request, reference):
    """A target density with its moments and log evidence by quadrature, on a fine grid."""
    power = request.param
    at = np.linspace(-6, 6, 1201)
    grid = np.stack(np.meshgrid(at, at, indexing="ij"), -1) + 1e-4  # the origin has no direction
    logs = np.stack([log_joint(grid, image, power.power) for image in (0, 1)])
    weights = np.exp(logs - logs.max((1, 2), keepdims=True))
    log_evidence = np.log(weights.sum((1, 2))) + logs.max((1, 2)) + 2 * np.log(at[1] - at[0])
    weights /= weights.sum((1, 2), keepdims=True)
    mean = (weights[..., None] * grid).sum((1, 2))
    scale = np.sqrt((weights[..., None] * np.square(grid - mean[:, None, None])).sum((1, 2)))
    return SimpleNamespace(power=power, mean=mean, scale=scale, log_evidence=log_evidence)


def test_nuts_has_the_moments_of_quadrature(reference, case):
    sampled = reference.sampled(case.power)
    error = case.scale / np.sqrt(sampled.convergence.ess)
    assert np.abs((sampled.mean - case.mean) / error).max() < 5
    # Squares of heavier-tailed draws vary more than a Gaussian's and mix more slowly: ten times the Gaussian error
    assert np.abs(sampled.scale / case.scale - 1).max() < 10 / np.sqrt(2 * sampled.convergence.ess.min())
    assert sampled.convergence.rhat.max() < 1.02


def test_nuts_agrees_with_metropolis(reference, case):
    rng = np.random.default_rng(1)
    sampled = reference.sampled(case.power)
    for image in (0, 1):
        walkers = case.mean[image] + case.scale[image] * rng.standard_normal((200, 2))
        value, kept = log_joint(walkers, image, case.power.power), []
        for step in range(500):
            proposal = walkers + 1.5 * case.scale[image] * rng.standard_normal(walkers.shape)
            proposed = log_joint(proposal, image, case.power.power)
            accepted = np.log(rng.random(len(walkers))) < proposed - value
            walkers, value = np.where(accepted[:, None], proposal, walkers), np.where(accepted, proposed, value)
            if step >= 100:
                kept.append(walkers)
        of_walkers = np.stack(kept).mean(0)  # independent of each other
        error = np.hypot(of_walkers.std(0) / 200**0.5, case.scale[image] / np.sqrt(sampled.convergence.ess[image]))
        assert np.abs((of_walkers.mean(0) - sampled.mean[image]) / error).max() < 5


def test_log_evidence_equals_quadrature(reference, case):
    gap = reference.comparison(case.power).gap
    assert np.abs(gap.log_evidence - case.log_evidence).max() < 5 * gap.log_evidence_error.max() + 0.02
    assert np.all(gap.best_elbo <= case.log_evidence + 0.05)
    assert np.all(gap.guide_elbo <= gap.shared_elbo + 1e-9)


def test_convergence_marks_chains_that_disagree():
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((3, 4, 300, 2))
    latent[1, 0] += 1.0
    diverging = np.zeros((3, 4, 300), bool)
    diverging[2, 1, 7] = True
    assert convergence(latent, diverging).converged.tolist() == [True, False, False]


def test_convergence_agrees_with_arviz():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, 4, 300, 3))
    latent = np.zeros_like(noise)
    for draw in range(1, 300):  # autoregressive, by feature
        latent[:, :, draw] = np.array([0.0, 0.5, 0.9]) * latent[:, :, draw - 1] + noise[:, :, draw]
    found = convergence(latent, np.zeros((2, 4, 300), bool))
    np.testing.assert_allclose(found.rhat, array_stats.rhat(latent, chain_axis=1, draw_axis=2), rtol=1e-6)
    # The two end the sum of autocorrelations at another lag, where they are noise
    np.testing.assert_allclose(found.ess, array_stats.ess(latent, chain_axis=1, draw_axis=2), rtol=0.2)


def test_convergence_marks_a_chain_that_never_moved():
    latent = np.zeros((1, 4, 100, 1))
    assert not convergence(latent, np.zeros((1, 4, 100), bool)).converged[0]
