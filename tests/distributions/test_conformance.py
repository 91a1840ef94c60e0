"""Every density does what a density must: the table of `tests/helpers/distributions.py` through all checks."""

from __future__ import annotations

import pytest

import vje_ppl.distributions
from tests.helpers.distributions import CASES, density
from vje_ppl.testing import DISTRIBUTION_CHECKS, outcome


def test_every_density_has_a_row():
    rows = {case.name.split("-")[0] for case in CASES}
    assert not set(vje_ppl.distributions.__all__) - rows, "add a row to CASES in tests/helpers/distributions.py"


@pytest.mark.parametrize(
    ("case", "check"),
    [pytest.param(case, check, id=f"{case}-{check.__name__}") for case in CASES for check in DISTRIBUTION_CHECKS.all],
)
def test_conforms(case, check):
    found = outcome(check, density(case))
    assert found.verdict == ("not run" if check.__name__ in case.not_run else "passed"), str(found)
