"""The Normal prior with a learned scale for each feature."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import scipy.stats
import torch

from vje_ppl.distributions.kl import closed_form_kl
from vje_ppl.models.priors.ard_normal import ARDNormal


def test_starts_as_a_normal_of_the_given_scale():
    prior, value = ARDNormal(3, init=2.0).double()(), torch.randn(4, 3).double()
    expected = scipy.stats.norm.logpdf(value.numpy(), scale=2.0).sum(-1)
    torch.testing.assert_close(prior.log_prob(value), torch.tensor(expected))


def test_every_feature_has_a_scale_of_its_own():
    prior = ARDNormal(3).double()
    with torch.no_grad():
        prior.log_scale.copy_(torch.tensor([0.1, 1.0, 10.0]).log())
    value = torch.randn(4, 3).double()
    expected = scipy.stats.norm.logpdf(value.numpy(), scale=[0.1, 1.0, 10.0]).sum(-1)
    torch.testing.assert_close(prior().log_prob(value), torch.tensor(expected), rtol=1e-6, atol=1e-6)


def test_the_best_scale_is_the_root_mean_square_of_the_posteriors():
    prior = ARDNormal(4).double()
    mean, scale = torch.randn(50, 4).double(), torch.rand(50, 4).double() + 0.1
    with torch.no_grad():
        prior.log_scale.copy_(0.5 * (mean.square() + scale.square()).mean(0).log())
    closed_form_kl(dist.Normal(mean, scale).to_event(1), prior()).mean().backward()
    torch.testing.assert_close(prior.log_scale.grad, torch.zeros(4).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("init", [0.0, -1.0, float("nan")])
def test_a_start_that_is_not_positive_is_refused_in_a_sentence(init):
    with pytest.raises(ValueError, match="ARDNormal expects a positive initial scale, got"):
        ARDNormal(4, init)
