from __future__ import annotations

import numpy as np
import pytest

from vje_ppl.diagnose.report.section import Level
from vje_ppl.diagnose.sections.predictive import pit_verdict, replicated_verdict
from vje_ppl.diagnose.statistics.pit import pit_by_rank, uniformity
from vje_ppl.diagnose.statistics.predictive_draws import COSINE, RADIUS, Predictive


def statistic(scale=1.0, shift=0.0, images=800, samples=200):
    rng = np.random.default_rng(0)
    drawn = 10 + rng.standard_normal((samples, images))
    return Predictive(drawn, 10 + shift + scale * rng.standard_normal(images))


@pytest.mark.parametrize(
    ("name", "scale", "shift", "level", "said"),
    [
        pytest.param(RADIUS, 1, 0, Level.GOOD, "is where it is expected", id="radius as expected"),
        pytest.param(RADIUS, 0.1, 0, Level.CAUTION, "vary less than expected", id="radius too wide, however much"),
        pytest.param(RADIUS, 1.6, 0, Level.CAUTION, "vary more than expected", id="radius a little too narrow"),
        pytest.param(RADIUS, 9, 0, Level.BAD, "vary more than expected", id="radius much too narrow"),
        pytest.param(RADIUS, 1, 3, Level.BAD, "are larger than expected", id="radius too small"),
        pytest.param(COSINE, 1, 0, Level.GOOD, "is where it is expected", id="cosine as expected"),
        pytest.param(COSINE, 1, 3, Level.CAUTION, "nearer to the source than expected", id="cosine too low"),
        pytest.param(COSINE, 1, -3, Level.BAD, "further from the source than expected", id="cosine too high"),
    ],
)
def test_pit_verdict_says_what_is_off_and_which_way(name, scale, shift, level, said):
    one = statistic(scale, shift)
    found = uniformity(pit_by_rank(one.drawn, one.observed, np.random.default_rng(1)))

    verdict = pit_verdict(name, found, 800)

    assert verdict.level is level
    assert said in verdict.sentence
    assert f"{found.distance:.2f} from uniform" in verdict.sentence
    assert "0.1" in verdict.threshold
    assert "0.25" in verdict.threshold


def test_pit_verdict_of_few_images_allows_for_chance():
    verdict = pit_verdict(RADIUS, uniformity(np.random.default_rng(3).random(8)), 8)

    assert verdict.level is Level.GOOD
    assert "further than 0.54" in verdict.threshold  # what 1 % of data sets of 8 uniform numbers exceed


@pytest.mark.parametrize(
    ("scale", "shift", "level", "said"),
    [
        pytest.param(1, 0, Level.GOOD, "have the median and the interquartile range", id="alike"),
        pytest.param(2, 0, Level.CAUTION, "interquartile range 2.", id="wider"),
        pytest.param(1, 3, Level.CAUTION, "median 13 where 10 is expected", id="larger"),
        pytest.param(1, 0.3, Level.GOOD, "have the median", id="off by less than matters"),
    ],
)
def test_replicated_verdict_names_what_differs(scale, shift, level, said):
    verdict, rows = replicated_verdict(RADIUS, statistic(scale, shift), np.random.default_rng(0))

    assert verdict.level is level
    assert said in verdict.sentence
    assert [row["over the images"] for row in rows] == ["median", "interquartile range"]
    assert any(row["matters"] for row in rows) is (level is Level.CAUTION)


def test_p_value_is_spread_over_ties():
    same = Predictive(np.ones((9, 50)), np.ones(50))
    rng = np.random.default_rng(0)
    found = [replicated_verdict(RADIUS, same, rng)[1][0]["p-value"] for _ in range(400)]
    assert abs(np.mean(found) - 0.5) < 4 / (12 * 400) ** 0.5
