from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from scipy.stats import t as student_t

from vje_ppl.diagnose.statistics.activity import feature_kl
from vje_ppl.distributions import StudentT
from vje_ppl.distributions.coupling_flow import CouplingFlow
from vje_ppl.distributions.kl import closed_form_kl
from vje_ppl.guides.flow import FlowPosterior
from vje_ppl.models.priors.ard_normal import ARDNormal
from vje_ppl.models.priors.laplace import LaplacePrior
from vje_ppl.models.priors.mixture import NormalMixture
from vje_ppl.models.priors.standard_normal import StandardNormal
from vje_ppl.models.priors.student_t import StudentTPrior

D = 5


def diagonal():
    loc = torch.randn(7, D, dtype=torch.float64)
    return dist.Normal(loc, torch.rand(7, D, dtype=torch.float64) + 0.2).to_event(1)


@pytest.mark.parametrize("prior", [StandardNormal, ARDNormal, LaplacePrior], ids=lambda prior: prior.__name__)
def test_feature_kl_adds_up_to_the_kl_of_independent_features(prior):
    q, p = diagonal(), prior(D).double()()

    with torch.no_grad():
        found = feature_kl(q, p)
        expected = closed_form_kl(q, p)

    assert found.shape == (7, D)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(-1), expected, rtol=1e-12, atol=1e-12)


def test_feature_kl_without_a_closed_form_equals_scipy_quadrature():
    q, df = diagonal(), torch.tensor(4.0, dtype=torch.float64)
    p = StudentT(df, torch.zeros(D, dtype=torch.float64), torch.tensor(0.8, dtype=torch.float64)).to_event(1)

    found = feature_kl(q, p)

    for image, feature in ((0, 0), (3, 2), (6, 4)):
        loc, scale = q.base_dist.loc[image, feature].item(), q.base_dist.scale[image, feature].item()
        one, prior = norm(loc, scale), student_t(4, 0, 0.8)
        expected, _ = quad(
            lambda x, one=one, prior=prior: one.pdf(x) * (one.logpdf(x) - prior.logpdf(x)),
            loc - 12 * scale,
            loc + 12 * scale,
        )
        # The rule is exact for polynomials; log(1 + x²) has poles at ±i √ν scale, which limit it at such widths
        assert found[image, feature].item() == pytest.approx(expected, abs=1e-5)


def test_feature_kl_of_correlated_features_leaves_out_their_total_correlation():
    loc, factor = torch.randn(7, D, dtype=torch.float64), torch.randn(7, D, 2, dtype=torch.float64)
    q = dist.LowRankMultivariateNormal(loc, factor, torch.rand(7, D, dtype=torch.float64) + 0.1)
    p = dist.Normal(torch.zeros(D, dtype=torch.float64), 1.0).to_event(1)

    total_correlation = q.stddev.log().sum(-1) - 0.5 * torch.logdet(q.covariance_matrix)

    torch.testing.assert_close(feature_kl(q, p).sum(-1) + total_correlation, closed_form_kl(q, p))


@pytest.mark.parametrize("prior", [NormalMixture, StudentTPrior], ids=lambda prior: prior.__name__)
def test_feature_kl_is_none_for_priors_whose_features_depend_on_each_other(prior):
    assert feature_kl(diagonal(), prior(D).double()()) is None


def test_feature_kl_is_none_for_a_flow():
    flow = FlowPosterior(torch.zeros(7, D), torch.ones(7, D), CouplingFlow(D, 1, 1))

    assert feature_kl(flow.distribution(), StandardNormal(D)()) is None
