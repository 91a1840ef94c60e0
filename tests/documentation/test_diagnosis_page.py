"""The page on diagnoses names verdicts that there are, with the thresholds that they have."""

from __future__ import annotations

import re

import pytest

from tests.documentation.blocks import ROOT
from vje_ppl.diagnose.posterior import offsets
from vje_ppl.diagnose.sections import active_features, corruption_check, other_data_check, predictive
from vje_ppl.diagnose.sections import calibration as calibration_section
from vje_ppl.diagnose.sections import guide_verdicts as guide_section
from vje_ppl.diagnose.sections import reference as reference_section
from vje_ppl.diagnose.sections.knn_error_check import BEATS, NAME

PAGE = (ROOT / "docs/diagnosis.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", PAGE, flags=re.MULTILINE))
SOURCES = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "vje_ppl/diagnose").rglob("*.py"))

THRESHOLDS = {
    "Scale of the guide": (guide_section.DOUBTED_SCALE, guide_section.REFUSED_SCALE),
    "Mean of the guide": (guide_section.DOUBTED_SHIFT, guide_section.REFUSED_SHIFT),
    "Features of the guide": (offsets.ODD_FACTOR, offsets.ODD_SHIFT),
    "Amortization": (guide_section.SMALL_GAP, 100 * guide_section.REFUSED_SHARE),
    "Calibration of NUTS": (calibration_section.DOUBTED, calibration_section.REFUSED),
    "Posterior scale under noise, blur, occlusion": (corruption_check.GROWS,),
    NAME: (100 * BEATS,),
    "Posterior scale on other data": (other_data_check.TELLS_APART,),
    "Cross-view PIT": (predictive.FAR, predictive.TOO_FAR),
    "Active features": (100 * active_features.COLLAPSED,),
    "Directions of the posterior means": (100 * active_features.FEW_DIRECTIONS,),
    "Scales at a bound": (100 * active_features.STUCK,),
}


@pytest.mark.parametrize("verdict", THRESHOLDS)
def test_a_threshold_is_the_one_that_decides(verdict):
    numbers = re.findall(r"\d+(?:\.\d+)?", ROWS[verdict])
    assert [float(one) for one in numbers] == pytest.approx(THRESHOLDS[verdict], rel=1e-9)


def test_every_verdict_that_is_named_exists():
    named = {name.removesuffix(" …").split(",")[0] for name in re.findall(r'"([A-Z][^"]+)"', PAGE)}
    assert len(named) > 10
    for name in named:
        assert name.removesuffix(" NUTS").removesuffix(" of") in SOURCES, name


def test_the_share_of_converged_images_is_the_one_that_decides():
    assert f"fewer than {100 * reference_section.ENOUGH:.0f} % did" in PAGE
