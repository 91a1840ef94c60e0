"""k-hat: finite at the fewest draws, best for equal weights, and bad for weights that are not finite."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

from vje_ppl.diagnose.posterior.importance import EQUAL_WEIGHTS, FEWEST_DRAWS, bounds, is_reliable, khat


def normal(draws=100, images=1, scale=1.0, seed=0):
    return scale * np.random.default_rng(seed).standard_normal((draws, images))


@pytest.mark.parametrize("draws", [FEWEST_DRAWS, 31, 225, 226, 1000])
def test_khat_is_that_of_arviz(draws):
    weights = normal(draws, images=3)
    found = khat(weights)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, array_stats.psislw(-weights, axis=0)[1])


def test_fewer_draws_than_a_fit_needs_are_refused():
    with pytest.raises(ValueError, match="at least 30 draws, got 29"):
        khat(normal(FEWEST_DRAWS - 1))


@pytest.mark.parametrize(
    "weights",
    [
        np.zeros((FEWEST_DRAWS, 1)),
        np.full((1000, 1), -312.4),
        -312.4 + np.float32(1e-5) * normal(),
        np.where(normal() > 0, 3.0, -np.inf),
        np.where(normal() > 0, 1.0, 0.0),
    ],
    ids=["fewest", "many", "up to rounding", "half of them zero", "equal where they are large"],
)
def test_equal_weights_have_the_best_khat(weights):
    assert khat(weights).item() == EQUAL_WEIGHTS
    assert khat(weights) < khat(normal())
    assert is_reliable(khat(weights)).all()


@pytest.mark.parametrize("place", [0, 57, 99])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_weight_that_is_not_finite_is_bad_for_its_image_alone(place, value):
    weights = normal(images=3)
    weights[place, 1] = value
    assert is_reliable(khat(weights)).tolist() == [True, False, True]


@pytest.mark.parametrize(
    "weights",
    [np.full((100, 1), -np.inf), np.r_[np.zeros((1, 1)), np.full((99, 1), -np.inf)], normal(scale=1e3)],
    ids=["all zero", "one above zero", "one above the others by far"],
)
def test_weights_that_no_pareto_fits_are_bad(weights):
    assert not is_reliable(khat(weights)).any()


def test_a_weight_of_zero_is_nothing_to_mind():
    weights = normal(1000)
    weights[3] = -np.inf
    assert is_reliable(khat(weights)).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_bounds_of_weights_that_are_not_finite_raise_nothing(value):
    weights = normal(images=2)[:, None]
    weights[3, 0, 0] = value
    found = bounds(weights)
    assert all(np.isfinite(one[0, 1]) for one in found.values())
    assert found[1][0, 0] == value or np.isnan(value)
