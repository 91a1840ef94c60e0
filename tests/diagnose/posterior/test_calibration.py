"""Ranks of simulated truths: uniform for what is right, and not for a planted fault."""

import numpy as np
import pytest

from tests.helpers.conjugate_reference import faulty
from vje_ppl.diagnose.faults import NoFault, SamplerPower, SamplerScale, ScaledScale, ShiftedMean
from vje_ppl.diagnose.posterior.calibration import Ranks, _rank
from vje_ppl.diagnose.report.section import Level
from vje_ppl.diagnose.sections.calibration import calibration_section

NUTS, GUIDE = "Calibration of NUTS", "Calibration of the guide"


@pytest.mark.parametrize(
    ("fault", "bad", "words"),
    [
        (NoFault(), None, ""),
        (ScaledScale(0.5), GUIDE, "too narrow"),
        (ScaledScale(2.0), GUIDE, "too wide"),
        (ShiftedMean(1.0), GUIDE, "below the draws"),
        (SamplerScale(0.3), NUTS, "too narrow"),
        (SamplerPower(4.0), NUTS, "too narrow"),
    ],
    ids=["none", "guide-narrow", "guide-wide", "guide-shifted", "sampler-scale", "sampler-power"],
)
def test_calibration_notices_a_planted_fault_and_nothing_else(fault, bad, words):
    verdicts = {one.name: one for one in calibration_section(faulty(fault)).verdicts}
    assert set(verdicts) == {NUTS, GUIDE}
    for name, verdict in verdicts.items():
        assert (verdict.level == Level.BAD) == (name == bad), verdict.sentence
    if bad is not None:
        assert words in verdicts[bad].sentence


def test_p_values_of_uniform_ranks_are_seldom_small():
    rng = np.random.default_rng(0)
    found = [Ranks("", {"feature 0": rng.integers(0, 100, 64)}, 99).p_value for _ in range(400)]
    assert np.mean(np.array(found) < 0.01) < 0.04  # 4 expected; 16 or more has probability 1e-5


def test_ranks_are_spread_over_the_unit_interval():
    uniform = Ranks("", {"feature 0": np.array([0, 99])}, 99).uniform("feature 0")
    assert 0 <= uniform[0] < 0.01
    assert 0.99 <= uniform[1] < 1


def test_an_exact_sampler_of_rounded_quantities_is_calibrated():
    rng = np.random.default_rng(0)
    truth, draws = rng.standard_normal((256, 3)), rng.standard_normal((256, 99, 3))

    def rounded(latent):
        return {
            "feature 0": latent[..., 0].round(),
            "norm": 1.0 * (np.linalg.norm(latent, axis=-1) > 1),
            "none": 0 * latent[..., 1],
        }

    found = [_rank("NUTS", truth, draws, rounded, np.random.default_rng(7)) for _ in range(2)]
    assert found[0].p_value > 0.01
    assert found[0].p_values == found[1].p_values
    wrong = _rank("NUTS", truth + 0.5, draws, rounded, np.random.default_rng(7))
    assert wrong.p_values["feature 0"] < 1e-3
