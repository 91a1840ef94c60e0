"""`surprise_rank`: uniform for draws of the program itself, whatever its scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, kstwo

from tests.helpers.cases import CARTESIAN, LikelihoodCase, built
from tests.measures.anomaly.small import OPTIONS, PAIRS_OF, N, by_row, inferred, views
from vje_ppl.measures.anomaly.conditional_densities import draw_latents, draw_observations
from vje_ppl.measures.anomaly.program_scores import ProgramScores
from vje_ppl.measures.anomaly.program_terms import program_terms
from vje_ppl.measures.anomaly.surprise_rank import SurpriseRank, mid_rank
from vje_ppl.measures.anomaly.traced import map_posterior
from vje_ppl.measures.anomaly.view_pairs import ViewPairs

IMAGES, DRAWS = 3000, 19
PAIR = ViewPairs("clean-clean", ((0, 1),), 1, 0)


def test_a_mid_rank_of_no_number_is_none():
    drawn = torch.tensor([[1.0, 2.0], [3.0, torch.nan]])
    found = mid_rank(drawn.repeat(1, 2)[:, :3], torch.tensor([torch.nan, 1.0, 2.0]))
    assert found.isnan().tolist() == [True, True, False]


def test_a_mid_rank_by_hand():
    drawn = torch.tensor([[1.0, 5.0, 2.0], [3.0, 5.0, 2.0], [4.0, 5.0, 7.0]])
    found = mid_rank(drawn, torch.tensor([2.0, 6.0, 2.0]))
    torch.testing.assert_close(found, torch.tensor([2.5, 0.5, 2.5], dtype=torch.float64) / 4)


@pytest.mark.parametrize(("widened", "is_uniform"), [(1.0, True), (1.5, False)])
@torch.no_grad()
def test_draws_of_the_program_have_uniform_ranks(widened, is_uniform):
    """By Kolmogorov and Smirnov at a level of 1 in 1000; mid-ranks of R draws are up to 1/(2 (R + 1)) from uniform."""
    likelihood = LikelihoodCase("cartesian_student_t", ("likelihood.df=4.0",), **CARTESIAN)
    program = built(likelihood=likelihood, dim=3).double().eval()
    images = torch.arange(IMAGES)
    source = 3 * torch.randn(1, IMAGES, 3, dtype=torch.float64)
    posterior = inferred(program, source)
    scales = torch.logspace(-2, 1, IMAGES, dtype=torch.float64)[:, None]  # of all sizes
    posterior = type(posterior)(posterior.mean, posterior.scale * scales)
    wide = type(posterior)(posterior.mean, widened * posterior.scale)
    target = draw_observations(program, wide, draw_latents(program, wide, source, 1, 99, images))["embedding"][0]
    both = map_posterior(posterior, lambda one: torch.cat([one, one]))
    terms = program_terms(program, torch.cat([source, target]), both, images, [PAIR], 4, 0)
    ((kind, values),) = SurpriseRank(program, DRAWS, 0)(terms, [PAIR]).items()
    assert (kind.draws, kind.samples) == (DRAWS, 4)
    distance = kstest(values.numpy(), "uniform").statistic
    assert (distance <= kstwo.ppf(0.999, IMAGES) + 0.5 / (DRAWS + 1)) == is_uniform
    for part in values.numpy()[: IMAGES // 3], values.numpy()[-IMAGES // 3 :]:  # small scales and large ones
        near = kstest(part, "uniform").statistic <= kstwo.ppf(0.999, len(part)) + 0.5 / (DRAWS + 1)
        assert near == is_uniform


@torch.no_grad()
def test_draws_are_spread_over_the_sources_and_shared_by_their_targets(program):
    z = views()
    posterior = inferred(program, z)
    scored = ProgramScores(program, z[0], OPTIONS)(z, posterior, torch.arange(N))
    rows = {kind.views: kind for kind in scored if kind.name == "surprise_rank"}
    assert {views: kind.draws for views, kind in rows.items()} == {
        kind: math.ceil(64 / len({a for a, _ in pairs})) * len({a for a, _ in pairs})
        for kind, pairs in PAIRS_OF.items()
    }
    for (name, _), values in by_row(scored).items():
        assert name != "surprise_rank" or ((values > 0) & (values < 1)).all()


@torch.no_grad()
def test_an_unlikely_view_has_a_high_rank(program):
    z = views()
    posterior = inferred(program, z)
    z[1:] = z[1:].sign() * 1e3
    found = by_row(ProgramScores(program, z[0], OPTIONS)(z, posterior, torch.arange(N)))
    assert (found["surprise_rank", "augmented-augmented"] > 0.9).all()


@pytest.mark.parametrize("largest", [1, 200])
@torch.no_grad()
def test_chunks_change_nothing(program, largest, monkeypatch):
    z = views()
    posterior = inferred(program, z)
    terms = program_terms(program, z, posterior, torch.arange(N), OPTIONS.kinds, 4, 0)
    score = SurpriseRank(program, 8, 0)
    whole = score(terms, OPTIONS.kinds)
    monkeypatch.setattr("vje_ppl.measures.anomaly.surprise_rank.LARGEST", largest)
    for kind, values in score(terms, OPTIONS.kinds).items():
        assert torch.equal(values, whole[kind])


@torch.no_grad()
def test_a_likelihood_that_cannot_be_drawn_from_has_no_rank(program, monkeypatch):
    def refuse(*_):
        raise NotImplementedError

    monkeypatch.setattr("vje_ppl.measures.anomaly.surprise_rank.draw_observations", refuse)
    z = views()
    found = by_row(ProgramScores(program, z[0], OPTIONS)(z, inferred(program, z), torch.arange(N)))
    assert "surprise_rank" not in {name for name, _ in found}
    assert all(np.isfinite(values).all() for values in found.values())
