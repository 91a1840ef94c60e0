"""Moments of draws: exact where a posterior says so, Monte Carlo for a flow, and the same every time."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from vje_ppl.program.moments import DRAWS, moments, monte_carlo_moments


@dataclass(frozen=True)
class Plain:
    mean: Tensor
    scale: Tensor


@dataclass(frozen=True)
class Own(Plain):
    def moments(self) -> tuple[Tensor, Tensor]:
        return self.mean + 1, 2 * self.scale


def around(*batch: int, dim: int = 3) -> Tensor:
    return torch.randn(*batch, dim).double()


def test_a_posteriors_own_moments_come_before_its_mean_and_scale():
    mean, scale = around(4), torch.ones(4, 3).double()
    assert moments(Plain(mean, scale)) == (mean, scale)
    own_mean, own_scale = moments(Own(mean, scale))
    assert torch.equal(own_mean, mean + 1)
    assert torch.equal(own_scale, 2 * scale)


@pytest.mark.parametrize("draws", [2, DRAWS])
@pytest.mark.parametrize("batch", [(), (4,), (2, 4)], ids=["one", "images", "pairs"])
def test_is_exact_for_linear_functions_of_the_same_feature(batch, draws):
    loc, scale = around(*batch), torch.rand(*batch, 3).double() + 0.1
    mean, deviation = monte_carlo_moments(lambda noise: loc + scale * noise, loc, draws)
    torch.testing.assert_close(mean, loc)
    torch.testing.assert_close(deviation, scale)


def test_agrees_with_known_moments_within_five_standard_errors():
    # Of exp(σ ε): mean m = exp(σ²/2), variance m² (m² − 1), kurtosis m⁸ + 2 m⁶ + 3 m⁴ − 3.
    sigma = 0.3
    mean, deviation = monte_carlo_moments(lambda noise: (sigma * noise).exp(), torch.ones(200).double())
    m = torch.tensor(sigma**2 / 2).double().exp()
    variance, kurtosis = m**2 * (m**2 - 1), m**8 + 2 * m**6 + 3 * m**4 - 3
    assert ((mean - m).abs() <= 5 * (2 * variance / DRAWS).sqrt()).all()
    assert ((deviation - variance.sqrt()).abs() <= 5 * (variance * (kurtosis - 1) / (2 * DRAWS)).sqrt()).all()


def test_the_standard_errors_are_as_documented():
    # Each feature has noise of its own, so that the spread over features of one and the same quantity is its error.
    mean, deviation = monte_carlo_moments(
        lambda noise: (noise + noise.roll(1, -1)) / 2**0.5, torch.zeros(5000).double()
    )
    assert mean.abs().max() < 1e-12
    assert deviation.std() <= 1.1 / DRAWS**0.5
    even, _ = monte_carlo_moments(lambda noise: noise.abs(), torch.zeros(5000).double())
    assert even.std() <= 1.1 * (2 / DRAWS) ** 0.5


def test_depends_on_nothing_but_its_image_and_leaves_the_global_generator_alone():
    loc = around(5)

    def of(rows: slice) -> Tensor:
        return torch.stack(monte_carlo_moments(lambda noise: loc[rows] + noise.exp() * loc[rows].abs(), loc[rows]))

    torch.manual_seed(1)
    before = torch.get_rng_state()
    everything = of(slice(None))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(of(slice(None)), everything)
    torch.testing.assert_close(of(slice(3, 5)), everything[:, 3:5])


@pytest.mark.parametrize("draws", [0, 1, 7, -2])
def test_a_number_of_draws_without_pairs_is_refused_in_a_sentence(draws):
    with pytest.raises(ValueError, match=f"expects an even number of at least 2 draws, got {draws}"):
        monte_carlo_moments(lambda noise: noise, around(), draws)
