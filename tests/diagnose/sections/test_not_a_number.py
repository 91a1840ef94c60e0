"""What is not a number is bad, in every verdict."""

from dataclasses import replace

import numpy as np
import pytest

from vje_ppl.diagnose.posterior.calibration import Ranks
from vje_ppl.diagnose.posterior.gap import Gap
from vje_ppl.diagnose.posterior.nuts import convergence
from vje_ppl.diagnose.posterior.offsets import Offsets
from vje_ppl.diagnose.posterior.problem import BAYESIAN
from vje_ppl.diagnose.report.section import Level, level_of
from vje_ppl.diagnose.sections.active_features import bound_verdict, rank_verdict
from vje_ppl.diagnose.sections.calibration import ranks_verdict
from vje_ppl.diagnose.sections.corruption_check import trend_verdict
from vje_ppl.diagnose.sections.guide_verdicts import amortization_verdict, offset_verdicts
from vje_ppl.diagnose.sections.predictive import pit_verdict, replicated_verdict
from vje_ppl.diagnose.sections.uncertainty import unusable_verdict
from vje_ppl.diagnose.statistics.activity import Activity
from vje_ppl.diagnose.statistics.pit import pit_by_rank, uniformity
from vje_ppl.diagnose.statistics.predictive_draws import RADIUS, Predictive

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("value", [NAN, INF])
def test_level_of_what_is_not_finite_is_bad(value):
    assert level_of(value, 1.0, 2.0) == Level.BAD


HEALTHY = Offsets(np.array([1.0, 1.1, 0.9]), np.array([0.0, 0.1, -0.1]), np.ones(3), 0.05, 10, "it wants")


@pytest.mark.parametrize("field", ["scale_ratio", "shift", "spread"])
@pytest.mark.parametrize("value", [NAN, INF])
def test_a_feature_that_is_not_finite_is_odd_and_spoils_no_other(field, value):
    values = getattr(HEALTHY, field).copy()
    values[1] = value
    offsets = replace(HEALTHY, **{field: values})
    assert offsets.odd_features() == [1]
    scale, shift, features = offset_verdicts(offsets)
    assert (scale.level, shift.level, features.level) == (Level.GOOD, Level.GOOD, Level.BAD)


@pytest.mark.parametrize("value", [NAN, 0.0, INF])
def test_scales_that_cannot_be_compared_are_bad(value):
    offsets = replace(HEALTHY, scale_ratio=np.full(3, value))
    assert offset_verdicts(offsets)[0].level == Level.BAD


@pytest.mark.parametrize("changed", [{"shift": np.full(3, NAN)}, {"shift_error": NAN}], ids=["shift", "error"])
def test_shifts_that_cannot_be_compared_are_bad(changed):
    assert offset_verdicts(replace(HEALTHY, **changed))[1].level == Level.BAD


def gap(total, amortization, error=0.01):
    """Of 50 images, in nats."""
    total = np.full(50, total)
    elbo = -total
    zero = np.zeros(50)
    return Gap(zero, np.full(50, error), elbo + amortization, elbo + amortization, elbo, np.full(50, error))


@pytest.mark.parametrize(
    ("total", "share"),
    [(1.0, "50%"), (0.01, "50%"), (1e-3, "no share"), (0.0, "no share"), (-1e-12, "no share"), (-0.3, "no share")],
)
def test_amortization_has_a_share_of_a_gap_beyond_its_error(total, share):
    verdict = amortization_verdict(BAYESIAN, gap(total, max(total, 0) / 2), 8)  # standard error 0.002 nats
    assert share in verdict.sentence
    assert ("%" in verdict.sentence) is (share == "50%")
    assert verdict.level == Level.GOOD


@pytest.mark.parametrize("amortization", [NAN, 0.0])
def test_a_gap_without_a_number_is_bad(amortization):
    verdict = amortization_verdict(BAYESIAN, replace(gap(1.0, amortization), log_evidence=np.full(50, NAN)), 8)
    assert verdict.level == Level.BAD
    assert "not a finite number" in verdict.sentence


def test_amortization_that_is_not_small_beside_an_unknown_gap_is_bad():
    assert amortization_verdict(BAYESIAN, gap(5.0, 4.0, error=1e3), 8).level == Level.BAD


def test_ranks_that_are_not_numbers_are_bad():
    ranks = {"norm": np.arange(40.0) * 99 / 40, "feature 0": np.full(40, NAN)}
    for names in (ranks, dict(reversed(ranks.items()))):
        verdict = ranks_verdict(Ranks("NUTS", names, 99))
        assert verdict.level == Level.BAD
        assert "worst in feature 0" in verdict.sentence


@pytest.mark.parametrize("value", [NAN, INF])
def test_chains_that_are_not_finite_have_not_converged(value):
    latent = np.random.default_rng(0).standard_normal((2, 4, 300, 2))
    latent[1, 0, 5:, 0] = value
    assert convergence(latent, np.zeros((2, 4, 300), bool)).converged.tolist() == [True, False]


@pytest.mark.parametrize("where", ["drawn", "observed"])
def test_a_pit_without_a_number_is_bad(where):
    rng = np.random.default_rng(0)
    values = {"drawn": rng.standard_normal((40, 50)), "observed": rng.standard_normal(50)}
    values[where][..., 7] = NAN
    pit = pit_by_rank(**values, rng=rng)
    assert np.flatnonzero(np.isnan(pit)).tolist() == [7]
    assert pit_verdict(RADIUS, uniformity(pit), 50).level == Level.BAD
    assert replicated_verdict(RADIUS, Predictive(**values), rng)[0].level == Level.BAD


def test_scales_that_are_not_finite_are_bad():
    values = np.tile(np.arange(6.0)[:, None], (1, 5))
    assert trend_verdict("noise", values).level == Level.GOOD
    for broken in (NAN, INF, -INF):
        values[3, 2] = broken
        assert trend_verdict("noise", values).level == Level.BAD
    assert "1 of 5 images" in unusable_verdict(values[3]).sentence
    assert unusable_verdict(values[3]).level == Level.BAD


def test_features_that_are_not_numbers_are_no_good():
    broken = Activity(np.full(3, NAN), np.ones(3), np.full(3, NAN))
    assert not broken.active.any()
    assert bound_verdict(NAN, 0.0).level == Level.CAUTION
    assert rank_verdict(Activity(np.ones(30), np.ones(30), np.r_[NAN, np.ones(29)])).level == Level.CAUTION
