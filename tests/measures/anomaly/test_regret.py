"""`regret` of a program whose best posterior is in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from tests.helpers.cases import Case, built
from tests.measures.anomaly.conjugate import PROGRAM
from tests.measures.anomaly.small import N, inferred, views
from vje_ppl.guides.diagonal_normal import DiagonalNormalPosterior
from vje_ppl.measures.anomaly.program_terms import program_terms
from vje_ppl.measures.anomaly.regret import Regret
from vje_ppl.measures.anomaly.traced import map_posterior
from vje_ppl.measures.anomaly.view_pairs import view_pairs

KINDS = view_pairs(["clean-clean"], 1)
D, DRAWS, STEPS = 4, 2000, 150


def regret(program, z, posterior, draws, steps, images=None):
    images = torch.arange(z.shape[1]) if images is None else images
    with torch.no_grad():
        terms = program_terms(program, z, posterior, images, KINDS, draws, 0)
        ((kind, values),) = Regret(program, steps, 0)(terms).items()
    assert (kind.views, kind.samples, kind.steps) == ("clean", draws, steps)
    return values


def test_it_is_the_divergence_from_the_posterior():
    """The best Normal is the posterior itself: max_q ELBO − ELBO(guide) = KL(guide ‖ posterior)."""
    z = torch.randn(1, N, D, dtype=torch.float64)
    scale = 0.3 + torch.rand(1, N, D, dtype=torch.float64)
    mean = z / (1 + scale**2) + 0.7 * scale * torch.randn(1, N, D, dtype=torch.float64)
    found = regret(PROGRAM, z, DiagonalNormalPosterior(mean, scale), DRAWS, STEPS)
    own = Normal(z / (1 + scale**2), scale / (1 + scale**2).sqrt())
    expected = kl_divergence(Normal(mean, scale), own).sum(-1)[0]
    # The variance of log p(z | s) under a Normal with mean m and deviation b: with a = (z − m)/σ, Σ a² b²/σ² + b⁴/2σ⁴
    variance = 0.0
    for q in (Normal(mean, scale), own):
        a, b = (z - q.loc) / scale, q.scale / scale
        variance = variance + ((a * b) ** 2 + b**4 / 2).sum(-1)[0]
    error = (variance / DRAWS).sqrt()
    assert ((found - expected).abs() <= 5 * error + 0.03).all()  # 0.03: four draws a step end beside the optimum
    assert torch.corrcoef(torch.stack([found, expected]))[0, 1] > 0.9


def test_without_a_likelihood_it_is_the_divergence_from_the_prior():
    scale = torch.full((1, N, D), 100.0, dtype=torch.float64)
    mean = torch.randn(1, N, D, dtype=torch.float64)
    found = regret(PROGRAM, mean, DiagonalNormalPosterior(mean, scale), 4, 400)
    expected = kl_divergence(Normal(mean, scale), Normal(0.0, 1.0)).sum(-1)[0]
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0)


@pytest.mark.parametrize("guide", [Case("low_rank_normal", ("guide.rank=2",)), Case("flow")], ids=str)
def test_other_guides_gain_by_the_search_and_an_image_is_by_itself(guide):
    program = built(guide=guide, dim=3).double().eval()
    z = views(count=6)[:1]
    with torch.no_grad():
        posterior = inferred(program, z)
    few, many = (regret(program, z, posterior, 64, steps) for steps in (2, 60))
    assert many.mean() > max(0.0, float(few.mean()))
    some = torch.tensor([4, 1])
    part = regret(program, z[:, some], map_posterior(posterior, lambda one: one[:, some]), 64, 2, some)
    torch.testing.assert_close(part, few[some], rtol=1e-9, atol=1e-9)
    assert math.isfinite(float(many.sum()))
