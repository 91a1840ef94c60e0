"""Scores of a program against sums of SciPy's densities at the same draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_t, t

from tests.helpers.cases import CARTESIAN, GUIDES, LIKELIHOODS, Case, LikelihoodCase, built
from tests.measures.anomaly.small import DF, OPTIONS, PAIRS_OF, VIEWS, D, M, N, by_row, inferred, views
from vje_ppl.measures.anomaly.conditional_densities import draw_latents, log_mixture
from vje_ppl.measures.anomaly.program_scores import ProgramScores
from vje_ppl.measures.anomaly.traced import map_posterior
from vje_ppl.parallel.randomness import Stream, stream_seed


def scored_by_training(program, *embeddings):
    """The objective's terms of views that are embeddings already."""
    program.guide.encoder = torch.nn.Identity()
    return program(*embeddings)


def densities(latent, scale, target):
    """Log-density of direction and radius, one latent and one target, as SciPy has them."""
    direction = multivariate_t.logpdf(
        target / np.linalg.norm(target), latent / np.linalg.norm(latent), np.diag(scale**2), df=DF
    )
    return direction, t.logpdf(np.linalg.norm(target), 4.0, np.linalg.norm(latent), 1.0)


@torch.no_grad()
def test_pair_scores_are_sums_of_scipys_densities(program):
    z, images = views(), torch.arange(N)
    posterior = inferred(program, z)
    found = by_row(ProgramScores(program, z[0], OPTIONS)(z, posterior, images))
    latents = draw_latents(program, posterior, z, OPTIONS.samples, stream_seed(0, Stream.SCORE_DRAWS), images)[
        "latent"
    ].numpy()
    scale = posterior.scale.numpy()

    for kind, pairs in PAIRS_OF.items():
        for image in range(N):
            parts = np.array(
                [
                    [densities(latents[s, a, image], scale[a, image], z[b, image].numpy()) for s in range(4)]
                    for a, b in pairs
                ]
            )  # (pairs, draws, sites)
            both = parts.sum(-1)
            expected = {
                "conditional": -both.mean(),
                "conditional/direction": -parts[..., 0].mean(),
                "conditional/radius": -parts[..., 1].mean(),
                "predictive": -(logsumexp(both, axis=1) - math.log(4)).mean(),
            }
            for name, value in expected.items():
                assert found[name, kind][image] == pytest.approx(value, rel=1e-10), (name, kind)


@torch.no_grad()
def test_scores_of_single_views_are_in_closed_form(program):
    z = views()
    posterior = inferred(program, z)
    found = by_row(ProgramScores(program, z[0], OPTIONS)(z, posterior, torch.arange(N)))
    mean, scale = posterior.mean.numpy(), posterior.scale.numpy()
    kl = 0.5 * (scale**2 + mean**2 - 1 - np.log(scale**2)).sum(-1)
    log_precision = -0.5 * np.log(scale**2).sum(-1)
    for name, expected in {"kl": kl, "log_precision": log_precision}.items():
        np.testing.assert_allclose(found[name, "clean"], expected[0], rtol=1e-10)
        np.testing.assert_allclose(found[name, "augmented"], expected[1:].mean(0), rtol=1e-10)


@torch.no_grad()
def test_aggregate_is_the_mixture_over_training_images(program):
    z, training = views(), views(seed=1, count=M)[0]
    found = by_row(ProgramScores(program, training, OPTIONS)(z, inferred(program, z), torch.arange(N)))
    posterior = inferred(program, training)
    seed = stream_seed(0, Stream.AGGREGATE_DRAWS)
    draws = draw_latents(program, inferred(program, training[None]), training[None], 3, seed, torch.arange(M))
    for image in range(N):
        terms = [
            sum(densities(draws["latent"][s, 0, j].numpy(), posterior.scale[j].numpy(), z[0, image].numpy()))
            for s in range(3)
            for j in range(M)
        ]
        assert found["aggregate", "clean"][image] == pytest.approx(math.log(3 * M) - logsumexp(terms), rel=1e-10)


@pytest.mark.parametrize("largest", [1, 50, 10**6])
@torch.no_grad()
def test_chunks_of_the_mixture_change_nothing(program, largest, monkeypatch):
    z, training = views(), views(seed=1, count=M)[0]
    posterior = inferred(program, training)
    draws = draw_latents(program, inferred(program, training[None]), training[None], 3, 0, torch.arange(M))
    whole = log_mixture(program, posterior, draws, z[0])
    monkeypatch.setattr("vje_ppl.measures.anomaly.conditional_densities.LARGEST", largest)
    torch.testing.assert_close(log_mixture(program, posterior, draws, z[0]), whole, rtol=1e-12, atol=0)


@torch.no_grad()
def test_chunks_of_pairs_change_nothing(program, monkeypatch):
    z, posterior = views(), inferred(program, views())
    scores = ProgramScores(program, z[0], OPTIONS)
    whole = scores(z, posterior, torch.arange(N))
    monkeypatch.setattr("vje_ppl.measures.anomaly.program_terms.LARGEST", 1)
    for kind, values in scores(z, posterior, torch.arange(N)).items():
        torch.testing.assert_close(values, whole[kind], rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("likelihood", "guide"),
    [
        (LikelihoodCase("cartesian_student_t", **CARTESIAN), GUIDES[0]),
        (LIKELIHOODS[0], Case("low_rank_normal", ("guide.rank=2",))),
        (LIKELIHOODS[0], Case("flow")),
        (LikelihoodCase("polar_student_t", ("likelihood/radius=none",)), GUIDES[0]),
    ],
    ids=["cartesian", "low-rank", "flow", "direction-alone"],
)
@torch.no_grad()
def test_whatever_the_program_declares_is_scored(likelihood, guide):
    program = built(likelihood=likelihood, guide=guide, dim=D).double().eval()
    z = views()
    found = by_row(ProgramScores(program, z[0], OPTIONS)(z, inferred(program, z), torch.arange(N)))
    sites = set(scored_by_training(program, *views()[:2]).log_likelihood)
    assert {name.removeprefix("conditional/") for name, _ in found if name.startswith("conditional/")} == sites
    assert all(np.isfinite(values).all() for values in found.values())
    by_site = sum(found[f"conditional/{site}", "clean-clean"] for site in sites)
    np.testing.assert_allclose(found["conditional", "clean-clean"], by_site, rtol=1e-12)


@torch.no_grad()
def test_the_mean_over_draws_is_the_objectives_within_five_standard_errors():
    # The conditional score is what training maximizes; here many images with the same embeddings are many draws.
    program, count = built(dim=D).double().eval(), 2000
    z = views()[:, :1].expand(VIEWS, count, D)
    found = by_row(ProgramScores(program, z[0, :2], OPTIONS)(z, inferred(program, z), torch.arange(count)))
    terms = [scored_by_training(program, z[a], z[a + 1]).log_likelihood for a in (1, 3)]
    for site in terms[0]:
        theirs = -torch.cat([one[site] for one in terms]).mean(0).numpy()
        ours = found[f"conditional/{site}", "augmented-augmented"]
        error = math.hypot(ours.std(), theirs.std()) / math.sqrt(count)
        assert abs(ours.mean() - theirs.mean()) <= 5 * error, site


@torch.no_grad()
def test_a_draw_belongs_to_its_image_and_view(program):
    z = views(count=200)
    posterior, images = inferred(program, z), torch.arange(200)
    whole = draw_latents(program, posterior, z, 3, 0, images)["latent"]
    some = torch.tensor([199, 3, 70, 64, 0])
    part = draw_latents(program, map_posterior(posterior, lambda one: one[:, some]), z[:, some], 3, 0, some)["latent"]
    assert torch.equal(part, whole[:, :, some])
    noise = ((whole - posterior.mean) / posterior.scale).flatten(0, 2)
    assert len(noise.unique(dim=0)) == len(noise)
    assert not torch.equal(draw_latents(program, posterior, z, 3, 1, images)["latent"], whole)
    count = noise.numel()
    assert abs(noise.mean()) <= 5 / math.sqrt(count)
    assert abs(noise.var() - 1) <= 5 * math.sqrt(2 / count)
    by_view = ((whole - posterior.mean) / posterior.scale).transpose(0, 1).flatten(1)
    correlation = torch.corrcoef(by_view) - torch.eye(VIEWS)
    assert correlation.abs().max() <= 5 / math.sqrt(by_view.shape[1])
