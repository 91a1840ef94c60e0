"""The learned mixture of diagonal Normals."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch

from vje_ppl.models.priors.mixture import NormalMixture


def test_is_the_mixture_of_its_parameters():
    prior, value = NormalMixture(3, components=4).double(), torch.randn(5, 3).double()
    with torch.no_grad():
        prior.logits.copy_(torch.randn(4))
    components = dist.Normal(prior.loc, prior.log_scale.exp()).to_event(1)
    expected = dist.MixtureSameFamily(dist.Categorical(logits=prior.logits), components).log_prob(value)
    torch.testing.assert_close(prior().log_prob(value), expected)


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_starts_close_to_the_standard_normal_with_components_apart(spread):
    prior, dim, count = NormalMixture(200, components=50, spread=spread), 200, 50
    # The mean square length is estimated from 10⁴ normal draws, with a standard error of √(2/10⁴) of it.
    assert abs(prior.loc.square().sum(-1).mean() / spread**2 - 1) <= 5 * math.sqrt(2 / (dim * count))
    torch.testing.assert_close(prior().variance.mean(), torch.tensor(1 + spread**2 / dim), rtol=0, atol=0.05)
    distance = torch.cdist(prior.loc, prior.loc)[~torch.eye(count, dtype=torch.bool)]
    assert distance.min() > 0.7 * math.sqrt(2) * spread


def test_starts_elsewhere_for_another_seed_and_there_again_for_the_same():
    starts = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        starts.append(NormalMixture(3).loc)
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


@pytest.mark.parametrize("dim", [2, 64, 512])
def test_every_component_has_a_share_in_the_first_draws_of_a_guide(dim):
    prior, latent = NormalMixture(dim), 1.1 * torch.randn(2000, dim)
    prior().log_prob(latent).sum().backward()
    # d log p / d logit_k, summed, is Σ_n r_nk − N w_k.
    share = prior.logits.grad / 2000 + 0.1
    assert (share > 0.05).all()


def test_finds_clusters():
    centres = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])
    data = centres[torch.randint(3, (600,))] + 0.3 * torch.randn(600, 2)
    prior = NormalMixture(2)
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (-prior().log_prob(data).mean()).backward()
        optimizer.step()
    truth = dist.MixtureSameFamily(dist.Categorical(torch.ones(3)), dist.Normal(centres, 0.3).to_event(1))
    # Fitted to them, it explains the 600 points no worse than the truth; 0.05 nats are for what is left to converge.
    assert prior().log_prob(data).mean() >= truth.log_prob(data).mean() - 0.05


@pytest.mark.parametrize(("components", "spread"), [(0, 1.0), (3, 0.0), (3, float("nan"))])
def test_options_that_leave_nothing_are_refused_in_a_sentence(components, spread):
    with pytest.raises(ValueError, match="NormalMixture expects components >= 1 and a positive spread, got"):
        NormalMixture(3, components, spread)
