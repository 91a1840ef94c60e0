from __future__ import annotations

import numpy as np
import pytest

from vje_ppl.diagnose.report.section import Level
from vje_ppl.diagnose.sections.corruption_check import trend_verdict
from vje_ppl.diagnose.sections.knn_error_check import error_verdict, knn_error_check
from vje_ppl.diagnose.sections.other_data_check import other_data_verdict
from vje_ppl.measures.risk_coverage import random_risks, risk_coverage


@pytest.mark.parametrize(
    ("slope", "level", "said"),
    [
        pytest.param(1.0, Level.GOOD, "The scale grows with blur", id="grows"),
        pytest.param(0.08, Level.CAUTION, "The scale hardly grows with blur", id="hardly grows"),
        pytest.param(-1.0, Level.CAUTION, "The scale shrinks with blur", id="shrinks"),
        pytest.param(-0.05, Level.CAUTION, "The scale does not grow with blur", id="hardly shrinks"),
    ],
)
def test_trend_verdict_says_whether_scale_grows(slope, level, said):
    levels = slope * np.arange(6)[:, None]

    verdict = trend_verdict("blur", levels + 0.5 * np.random.default_rng(0).standard_normal((6, 400)))

    assert verdict.level is level
    assert said in verdict.sentence
    assert "below 0.5" in verdict.threshold


def test_trend_verdict_says_where_scale_turns():
    values = np.array([0.0, 1, 2, 3, 4, 2.5])[:, None] + np.zeros((6, 10))

    assert "It is largest at level 4 of 5." in trend_verdict("blur", values).sentence


@pytest.mark.parametrize(
    ("informative", "level"), [(True, Level.GOOD), (False, Level.CAUTION)], ids=["informative", "not informative"]
)
def test_error_verdict_compares_with_random_orders(informative, level):
    rng = np.random.default_rng(0)
    wrong = rng.random(400) < 0.1
    curve = risk_coverage(rng.random(400) + (0.4 if informative else -0.05) * wrong, wrong)
    beaten = float((random_risks(wrong, 500, rng).mean(1) > curve.area).mean())

    verdict = error_verdict(curve, beaten)

    assert verdict.level is level
    assert f"{wrong.sum()} errors in 400 images" in verdict.sentence


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        pytest.param(None, "needs held-out images and training images with labels", id="no labels"),
        pytest.param(np.zeros(5, bool), "gets all of 5 images right", id="no error"),
        pytest.param(np.ones(5, bool), "gets none of 5 images right", id="errors alone"),
    ],
)
def test_knn_error_check_does_not_judge_without_something_to_compare(wrong, said):
    part = knn_error_check(np.arange(5.0), wrong, 3, 0)

    assert [verdict.level for verdict in part.verdicts] == [Level.INFORMATION]
    assert said in part.verdicts[0].sentence
    assert part.pictures == []


@pytest.mark.parametrize(
    ("auroc", "level", "word"),
    [(0.9, Level.GOOD, "is larger"), (0.6, Level.CAUTION, "is hardly larger"), (0.2, Level.CAUTION, "is not larger")],
    ids=["larger", "hardly", "smaller"],
)
def test_other_data_verdict_reads_the_auroc(auroc, level, word):
    verdict = other_data_verdict("photos", "digits", auroc)

    assert verdict.level is level
    assert f"The scale {word} on photos than on digits" in verdict.sentence
