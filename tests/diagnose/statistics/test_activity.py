from __future__ import annotations

import numpy as np
import pytest

from vje_ppl.diagnose.report.section import Level
from vje_ppl.diagnose.sections.active_features import activity_verdict, bound_verdict, rank_verdict
from vje_ppl.diagnose.statistics.activity import activity


def means(variances, images=500, seed=0):
    """Means of features with exactly these variances over the images, uncorrelated with each other."""
    values = np.random.default_rng(seed).standard_normal((images, len(variances)))
    values -= values.mean(0)
    values = np.linalg.svd(values, full_matrices=False)[0] * (images - 1) ** 0.5
    return 3.0 + values * np.sqrt(variances)


def measured(variances):
    return activity(means(variances), np.full((500, len(variances)), 0.5))


def test_activity_finds_planted_features():
    found = measured([1.0, 0.5, 0.011, 0.009, 0.0, 0.1])

    np.testing.assert_allclose(found.variance, [1.0, 0.5, 0.011, 0.009, 0.0, 0.1], atol=1e-12)
    assert found.active.tolist() == [True, True, True, False, False, True]
    np.testing.assert_allclose(found.uncertainty, 0.25)


@pytest.mark.parametrize(
    ("variances", "rank", "participation"),
    [
        pytest.param([2.0] * 6, 6, 6, id="all alike"),
        pytest.param([1.0, 0, 0, 0], 1, 1, id="one direction"),
        pytest.param([3.0, 1.0], np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)), 1 / (0.75**2 + 0.25**2), id="two"),
        pytest.param([0.0, 0.0], 1, 0, id="nothing varies"),
    ],
)
def test_activity_counts_directions_as_the_formulas_do(variances, rank, participation):
    found = measured(variances)

    assert found.effective_rank == pytest.approx(rank, rel=1e-9)
    assert found.participation == pytest.approx(participation, rel=1e-9)


def test_activity_of_fewer_images_than_features_has_a_whole_spectrum():
    mean = np.random.default_rng(0).standard_normal((4, 9))

    found = activity(mean, np.ones((4, 9)))

    np.testing.assert_allclose(found.spectrum, np.linalg.eigvalsh(np.cov(mean.T))[::-1], atol=1e-12)


@pytest.mark.parametrize(
    ("idle", "level", "said"),
    [
        pytest.param(0, Level.GOOD, "All 8 features", id="none"),
        pytest.param(1, Level.CAUTION, "7 of 8 features are active; inactive: 7.", id="one"),
        pytest.param(5, Level.BAD, "3 of 8", id="most"),
    ],
)
def test_activity_verdict_names_the_idle_features(idle, level, said):
    verdict = activity_verdict(measured([1.0] * (8 - idle) + [0.0] * idle))

    assert verdict.level is level
    assert said in verdict.sentence
    assert verdict.threshold


def test_rank_verdict_wants_more_than_a_few_directions():
    assert rank_verdict(measured([1.0] * 20)).level is Level.GOOD
    assert rank_verdict(measured([1.0] + [1e-6] * 19)).level is Level.CAUTION


def test_bound_verdict_counts_both_bounds():
    assert bound_verdict(0.02, 0.02).level is Level.GOOD
    assert bound_verdict(0.04, 0.04).level is Level.CAUTION
    assert "4.0 % of the scales sit at their lower bound and 3.0 %" in bound_verdict(0.04, 0.03).sentence
