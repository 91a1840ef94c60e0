from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare, kstest, norm

from vje_ppl.diagnose.statistics.pit import (
    distribution_function,
    pit_by_rank,
    rank_with_ties,
    simultaneous_band,
    uniformity,
)


def pit(scale=1.0, shift=0.0, images=2000, samples=99, seed=0):
    """Normal draws, and observations of another scale or place."""
    rng = np.random.default_rng(seed)
    observed = shift + scale * rng.standard_normal(images)
    return pit_by_rank(rng.standard_normal((samples, images)), observed, rng)


@pytest.mark.parametrize("samples", [1, 3, 99], ids=lambda samples: f"{samples} draws")
def test_pit_is_uniform_for_observations_like_the_draws(samples):
    found = uniformity(pit(samples=samples))

    assert found.distance < found.chance
    assert abs(found.mean - 0.5) < 4 / (12 * 2000) ** 0.5
    assert abs(found.middle - 0.5) < 4 * (0.25 / 2000) ** 0.5
    assert abs(found.covered - 0.9) < 4 * (0.09 / 2000) ** 0.5


def test_pit_of_many_draws_is_the_distribution_function():
    rng = np.random.default_rng(0)
    observed = rng.standard_normal(20)

    values = pit_by_rank(rng.standard_normal((40000, 20)), observed, rng)

    np.testing.assert_allclose(values, norm.cdf(observed), atol=5 * 0.5 / 40000**0.5)  # five standard errors


def test_pit_shares_ties_evenly():
    values = pit_by_rank(np.zeros((9, 4000)), np.zeros(4000), np.random.default_rng(0))

    assert kstest(values, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("scale", "shift"), [(0.5, 0), (2, 0), (1, 0.5), (1, -0.5)], ids=["too wide", "too narrow", "below", "above"]
)
def test_pit_is_not_uniform_for_a_wrong_scale_or_place(scale, shift):
    found = uniformity(pit(scale, shift))

    assert found.distance > 2 * found.chance
    if shift:
        assert (found.mean - 0.5) * shift > 0
    else:
        assert (found.middle > 0.6) is (scale < 1)
        assert (found.middle < 0.4) is (scale > 1)


def test_simultaneous_band_holds_nine_uniform_data_sets_in_ten_and_no_wrong_one():
    band = simultaneous_band(200, 0)
    rng = np.random.default_rng(1)

    def inside(values):
        shares = distribution_function(values, band.points)
        return ((shares >= band.low) & (shares <= band.high)).all()

    kept = np.mean([inside(rng.random(200)) for _ in range(600)])
    assert abs(kept - 0.95) < 5 * (0.95 * 0.05 / 600) ** 0.5 + 0.01  # counts are whole numbers, the band's ends too
    assert not inside(rng.random(200) ** 2)
    assert not inside(rng.beta(3, 3, 200))


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, shape: rng.standard_normal(shape).round(),
        lambda rng, shape: rng.poisson(0.5, shape),
        lambda rng, shape: rng.random(shape) < 0.9,
        lambda rng, shape: np.where(rng.random(shape) < 0.5, -np.inf, rng.standard_normal(shape)),
        lambda rng, shape: np.zeros(shape),
    ],
    ids=["rounded", "counts", "yes or no", "half of them zero density", "constant"],
)
def test_ranks_of_an_exact_sampler_are_uniform_with_ties(draw):
    rng = np.random.default_rng(0)
    drawn, observed = draw(rng, (19, 4000)), draw(rng, 4000)

    ranks = rank_with_ties(drawn.astype(float), observed.astype(float), rng)

    assert set(ranks) == set(range(20))
    assert chisquare(np.bincount(ranks.astype(int))).pvalue > 1e-3
    assert chisquare(np.bincount((drawn < observed).sum(0), minlength=20)).pvalue < 1e-9  # what a strict < says


def test_ranks_without_ties_count_the_draws_below():
    rng = np.random.default_rng(0)
    drawn, observed = rng.standard_normal((9, 50)), rng.standard_normal(50)

    assert (rank_with_ties(drawn, observed, rng) == (drawn < observed).sum(0)).all()
