import numpy as np
import pytest

from vje_ppl.measures.detection import auroc, detection, roc


def test_known_scores():
    # In-distribution 1, 2, 3, 4; out 3.5, 5, 6: of the 12 pairs, one is the wrong way round.
    inside, outside = np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.5, 5.0, 6.0])

    found = detection(inside, outside)

    assert found.auroc == pytest.approx(11 / 12)
    # Ranked from the most normal, in, in, in, out, in: precision 1, 1, 1 and then 4/5.
    assert found.aupr_in == pytest.approx((3 + 4 / 5) / 4)
    # Ranked from the most anomalous, out, out, in, out: precision 1, 1 and then 3/4.
    assert found.aupr_out == pytest.approx((2 + 3 / 4) / 3)
    # All four in-distribution images pass at a threshold of 4, and with them 3.5, one of three.
    assert found.fpr95 == pytest.approx(1 / 3)
    assert (found.n_in, found.n_out) == (4, 3)


@pytest.mark.parametrize(
    ("inside", "outside", "expected"),
    [
        ([0.0, 1.0], [2.0, 3.0], (1.0, 1.0, 1.0, 0.0)),
        ([2.0, 3.0], [0.0, 1.0], (0.0, (1 / 3 + 2 / 4) / 2, (1 / 3 + 2 / 4) / 2, 1.0)),
        ([1.0, 1.0], [1.0, 1.0], (0.5, 0.5, 0.5, 1.0)),
    ],
    ids=["perfect", "reversed", "all-equal"],
)
def test_extremes(inside, outside, expected):
    found = detection(np.array(inside), np.array(outside))
    assert (found.auroc, found.aupr_in, found.aupr_out, found.fpr95) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_follow_their_definitions(seed):
    rng = np.random.default_rng(seed)
    inside, outside = np.round(rng.normal(0, 1, 101), 1), np.round(rng.normal(1, 1.5, 57), 1)  # with ties

    found = detection(inside, outside)

    wins = (outside[:, None] > inside).mean() + 0.5 * (outside[:, None] == inside).mean()
    assert found.auroc == auroc(inside, outside) == pytest.approx(wins)
    thresholds = [t for t in np.unique(np.concatenate([inside, outside])) if (inside <= t).mean() >= 0.95]
    assert found.fpr95 == pytest.approx((outside <= thresholds[0]).mean())


def test_roc_encloses_the_area():
    rng = np.random.default_rng(0)
    normal, anomalous = rng.normal(0, 1, 40), rng.normal(1, 1, 30)
    assert np.trapezoid(*roc(normal, anomalous)[::-1]) == pytest.approx(auroc(normal, anomalous))
