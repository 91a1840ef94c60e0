"""p-values among calibration scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vje_ppl.score.calibration import p_values, too_few


def test_a_p_value_counts_the_calibration_scores_that_are_at_least_as_large():
    rng = np.random.default_rng(0)
    calibration, scores = rng.integers(0, 9, 50).astype(float), rng.integers(-1, 10, 40).astype(float)  # with ties
    counted = [(1 + sum(calibration >= score)) / 51 for score in scores]
    np.testing.assert_array_equal(p_values(calibration, scores), counted)


def test_an_image_without_a_score_has_no_p_value():
    np.testing.assert_array_equal(p_values(np.zeros(3), np.array([np.nan, 1.0])), [np.nan, 0.25])


def test_p_values_of_exchangeable_scores_are_uniform():
    # Each row is a calibration set of 9 and a score, so the ranks of the rows are independent and uniform on 1..10.
    drawn = np.random.default_rng(0).standard_t(2, (4000, 10))
    ranks = np.array([10 * p_values(row[1:], row[:1])[0] for row in drawn]).round().astype(int)
    counts = np.bincount(ranks, minlength=11)[1:]
    assert stats.chisquare(counts).pvalue > 1e-3
    # With fixed seeds, so that it either always passes or never does; 1e-3 is how often a right rule fails.


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.01, 0.3, 1 / 3])
def test_the_number_of_calibration_images_that_is_asked_for_is_the_least(alpha):
    sentence = too_few(1, alpha)
    least = int(sentence.split("at least ")[1].split()[0])
    assert too_few(least, alpha) is None
    assert too_few(least - 1, alpha) is not None


def test_enough_images_get_no_sentence():
    assert too_few(19, 0.05) is None
    assert too_few(18, 0.05) is not None
