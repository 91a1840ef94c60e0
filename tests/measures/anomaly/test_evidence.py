"""`evidence` against closed forms and quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import gammaln, logsumexp
from scipy.stats import multivariate_normal, t

from tests.helpers.cases import Case, LikelihoodCase, built
from tests.measures.anomaly.conjugate import PROGRAM, Posterior
from tests.measures.anomaly.small import OPTIONS, M, N, by_row, inferred, views
from vje_ppl.measures.anomaly.conditional_densities import draw_latents
from vje_ppl.measures.anomaly.evidence import Evidence, log_evidence
from vje_ppl.measures.anomaly.gaussian import Gaussian
from vje_ppl.measures.anomaly.program_scores import ProgramScores
from vje_ppl.parallel.randomness import Stream, stream_seed

CPU = torch.device("cpu")
V, D = 3, 4


def normal(mean, covariance):
    """A Gaussian with these moments."""
    log_normalizer = -0.5 * float(torch.logdet(2 * math.pi * covariance))
    return Gaussian(mean, torch.linalg.inv(covariance), log_normalizer)


def exact(prior_mean, prior_covariance, scale, z):
    """The log density of all views together, of one image."""
    covariance = np.kron(np.ones((len(z), len(z))), prior_covariance) + np.diag(np.tile(scale**2, len(z)))
    return multivariate_normal.logpdf(z.ravel(), np.tile(prior_mean, len(z)), covariance)


def test_draws_of_the_posterior_itself_give_the_evidence_exactly():
    z, scale = torch.randn(V, N, D, dtype=torch.float64), 0.2 + torch.rand(N, D, dtype=torch.float64)
    mean, variance = torch.randn(D, dtype=torch.float64), 0.5 + torch.rand(D, dtype=torch.float64)
    precision = 1 / variance + V / scale**2
    own = (mean / variance + z.sum(0) / scale**2) / precision
    # Scales of the views but the first are not used
    scales = torch.stack([scale, 7 * scale, scale / 7])
    posterior = Posterior(own.expand(V, N, D), scales, precision.rsqrt().expand(V, N, D))
    latents = draw_latents(PROGRAM, posterior, z, 2, 0, torch.arange(N))
    found = log_evidence(PROGRAM, normal(mean, variance.diag()), z, posterior, latents)
    expected = [exact(mean, np.diag(variance), scale[n], z[:, n].numpy()) for n in range(N)]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_mixture_of_other_posteriors_estimates_it_within_five_standard_errors():
    images = 400  # the same image many times: many independent estimates
    z = torch.randn(V, 1, D, dtype=torch.float64).expand(V, images, D)
    scale = torch.full((V, images, D), 0.7, dtype=torch.float64)
    factor = torch.randn(D, D, dtype=torch.float64)
    mean, covariance = torch.randn(D, dtype=torch.float64), factor @ factor.T + torch.eye(D)
    posterior = Posterior(0.8 * z, scale, 0.9 * scale)
    latents = draw_latents(PROGRAM, posterior, z, 20, 0, torch.arange(images))
    found = log_evidence(PROGRAM, normal(mean, covariance), z, posterior, latents)
    weights = (found - exact(mean.numpy(), covariance.numpy(), scale[0, 0].numpy(), z[:, 0].numpy())).exp()
    assert abs(weights.mean() - 1) <= 5 * weights.std() / math.sqrt(images)


@pytest.mark.parametrize("largest", [1, 100])
def test_chunks_change_nothing(largest, monkeypatch):
    z = torch.randn(V, N, D, dtype=torch.float64)
    posterior = Posterior(z, torch.ones_like(z), torch.ones_like(z))
    latents = draw_latents(PROGRAM, posterior, z, 5, 0, torch.arange(N))
    prior = normal(torch.zeros(D, dtype=torch.float64), torch.eye(D, dtype=torch.float64))
    whole = log_evidence(PROGRAM, prior, z, posterior, latents)
    monkeypatch.setattr("vje_ppl.measures.anomaly.evidence.LARGEST", largest)
    torch.testing.assert_close(log_evidence(PROGRAM, prior, z, posterior, latents), whole, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "guide",
    [Case("diagonal_normal"), Case("low_rank_normal", ("guide.rank=1",)), Case("flow")],
    ids=str,
)
@torch.no_grad()
def test_every_guide_estimates_what_quadrature_gives(guide):
    """In two dimensions, within five standard errors."""
    likelihood = LikelihoodCase("polar_student_t", ("likelihood.df=3.0",))
    program = built(likelihood=likelihood, guide=guide, dim=2).double().eval()
    images = 200
    z = torch.tensor([[[1.0, 0.5]], [[0.7, 0.8]]], dtype=torch.float64).expand(2, images, 2)
    posterior = inferred(program, z)
    covariance = torch.tensor([[1.0, 0.3], [0.3, 0.5]], dtype=torch.float64)
    prior = normal(torch.tensor([0.4, 0.1], dtype=torch.float64), covariance)
    latents = draw_latents(program, posterior, z, 200, 0, torch.arange(images))
    found = log_evidence(program, prior, z, posterior, latents)

    points, step = np.linspace(-6, 6, 1201, retstep=True)
    s = np.stack(np.meshgrid(points, points), -1).reshape(-1, 2) + 1e-9  # not on the origin, which has no direction
    log_density = multivariate_normal.logpdf(s, [0.4, 0.1], covariance.numpy())
    scale, length = posterior.scale[0, 0].numpy(), np.linalg.norm(s, axis=1)
    for view in z[:, 0].numpy():
        radius = np.linalg.norm(view)
        squared = (((view / radius - s / length[:, None]) / scale) ** 2).sum(1)
        constant = gammaln(2.5) - gammaln(1.5) - math.log(3 * math.pi) - np.log(scale).sum()
        log_density += constant - 2.5 * np.log1p(squared / 3) + t.logpdf(radius, 3, length, 1)
    expected = logsumexp(log_density) + 2 * math.log(step)
    weights = (found - expected).exp()
    assert abs(weights.mean() - 1) <= 5 * weights.std() / math.sqrt(images) + 1e-3  # 1e-3: of the grid
    assert weights.std() < 0.5


@torch.no_grad()
def test_the_prior_is_fitted_to_the_training_images_and_the_row_says_how(program):
    z, training = views(), views(1, M)[0]
    posterior = inferred(program, z)
    scored = ProgramScores(program, training, OPTIONS)(z, posterior, torch.arange(N))
    ((kind, values),) = ((kind, values) for kind, values in scored.items() if kind.name == "evidence")
    assert (kind.views, kind.samples, kind.augmentations, kind.training_images) == ("all", 4, len(z) - 1, M)
    of_training = program.guide.infer(training)
    prior = Gaussian.of_posteriors(of_training.mean, of_training.scale, CPU)
    latents = draw_latents(program, posterior, z, 4, stream_seed(0, Stream.SCORE_DRAWS), torch.arange(N))
    torch.testing.assert_close(values, -log_evidence(program, prior, z, posterior, latents), rtol=1e-12, atol=0)
    fewer = by_row(scored)["evidence", "all"]
    assert not np.array_equal(fewer, -log_evidence(program, prior, z, posterior, {"latent": latents["latent"][:2]}))
    assert Evidence(program, training, 100)  # no more draws than there are
