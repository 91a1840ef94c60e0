from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from vje_ppl.measures.risk_coverage import random_risks, risk_coverage

NO, YES = False, True


@pytest.mark.parametrize(
    ("uncertainty", "wrong", "risk", "oracle"),
    [
        pytest.param([1, 2, 3, 4], [NO, YES, NO, YES], [0, 1 / 2, 1 / 3, 1 / 2], [0, 0, 1 / 3, 1 / 2], id="mixed"),
        pytest.param([3, 1, 2], [YES, NO, NO], [0, 0, 1 / 3], [0, 0, 1 / 3], id="errors last"),
        pytest.param([1, 2, 3], [YES, NO, NO], [1, 1 / 2, 1 / 3], [0, 0, 1 / 3], id="errors first"),
        pytest.param([5, 5], [YES, NO], [1 / 2, 1 / 2], [0, 1 / 2], id="tied"),
        pytest.param([7], [YES], [1], [1], id="one image"),
    ],
)
def test_risk_coverage_by_hand(uncertainty, wrong, risk, oracle):
    found = risk_coverage(np.array(uncertainty, float), np.array(wrong))

    np.testing.assert_allclose(found.risk, risk, rtol=1e-15)
    np.testing.assert_allclose(found.coverage, np.arange(1, len(wrong) + 1) / len(wrong))
    assert found.area == pytest.approx(np.mean(risk), rel=1e-14)
    assert found.oracle == pytest.approx(np.mean(oracle), rel=1e-14)
    assert found.random == np.mean(wrong)


def test_risk_coverage_of_ties_is_the_mean_over_their_orders():
    uncertainty = np.array([0.0, 1, 1, 1, 2, 2])
    wrong = np.array([NO, YES, NO, NO, YES, NO])
    every = [
        [wrong[0], *wrong[list(middle)], *wrong[list(last)]]
        for middle in permutations([1, 2, 3])
        for last in permutations([4, 5])
    ]
    expected = (np.cumsum(every, axis=1) / np.arange(1, 7)).mean(0)

    np.testing.assert_allclose(risk_coverage(uncertainty, wrong).risk, expected, rtol=1e-14)


def test_gain_is_one_for_the_oracle_and_zero_for_a_constant():
    wrong = np.random.default_rng(0).random(200) < 0.2

    assert risk_coverage(wrong.astype(float), wrong).gain == pytest.approx(1, abs=1e-12)
    assert risk_coverage(np.zeros(200), wrong).gain == pytest.approx(0, abs=1e-12)
    assert risk_coverage(-wrong.astype(float), wrong).gain < -0.5
    assert np.isnan(risk_coverage(np.arange(3.0), np.ones(3, bool)).gain)


def test_random_risks_are_curves_of_shuffled_answers():
    wrong = np.random.default_rng(1).random(50) < 0.3

    risks = random_risks(wrong, 4000, np.random.default_rng(2))

    np.testing.assert_allclose(risks[:, -1], wrong.mean())
    areas = risks.mean(1)
    assert abs(areas.mean() - wrong.mean()) < 4 * areas.std() / 4000**0.5
    assert set(np.unique(risks[:, 0])) == {0.0, 1.0}
