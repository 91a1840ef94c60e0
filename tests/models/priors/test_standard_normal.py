"""The standard normal prior."""

from __future__ import annotations

import pyro
import pytest
import scipy.stats
import torch

from vje_ppl.distributions import UnitNormal
from vje_ppl.models.priors.standard_normal import StandardNormal


def test_is_the_unit_normal_over_the_embedding():
    prior = StandardNormal(5)()
    assert isinstance(prior, UnitNormal)
    assert (prior.batch_shape, prior.event_shape) == ((), (5,))


@pytest.mark.parametrize("dim", [1, 3, 200])
def test_log_prob_equals_scipy(dim):
    value = torch.randn(4, dim).double()
    expected = scipy.stats.norm.logpdf(value.numpy()).sum(-1)
    torch.testing.assert_close(StandardNormal(dim).double()().log_prob(value), torch.tensor(expected))


def test_follows_the_dtype_of_the_module():
    assert StandardNormal(3).double()().sample().dtype == torch.float64
    assert StandardNormal(3)().sample().dtype == torch.float32


def test_adds_nothing_to_checkpoints_and_learns_nothing():
    assert not StandardNormal(3).state_dict()
    assert not list(StandardNormal(3).parameters())


def test_can_be_sampled_in_a_plate():
    with pyro.plate("images", 6, dim=-1):
        assert pyro.sample("latent", StandardNormal(3)()).shape == (6, 3)
