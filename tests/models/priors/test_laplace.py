"""The Laplace prior."""

from __future__ import annotations

import pytest
import scipy.stats
import torch

from vje_ppl.models.priors.laplace import LaplacePrior


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_log_prob_equals_scipy(scale):
    value = torch.randn(4, 3).double()
    expected = scipy.stats.laplace.logpdf(value.numpy(), scale=scale).sum(-1)
    ours = LaplacePrior(3, scale).double()
    assert torch.equal(ours.scale, torch.tensor(scale).double())  # rounded to float32 first
    torch.testing.assert_close(ours().log_prob(value), torch.tensor(expected), rtol=1e-6, atol=1e-6)


def test_features_have_variance_one_by_default():
    torch.testing.assert_close(LaplacePrior(3)().variance, torch.ones(3))


def test_scale_is_not_learned():
    assert not list(LaplacePrior(3).parameters())


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_that_is_not_positive_is_refused_in_a_sentence(scale):
    with pytest.raises(ValueError, match="LaplacePrior expects a positive scale, got"):
        LaplacePrior(3, scale)
