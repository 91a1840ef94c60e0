"""What densities integrate to: known values."""

from __future__ import annotations

import numpy as np
import pytest

from vje_ppl.crosscheck import normalization, quadrature


def test_every_integral_is_what_it_should_be():
    rows = normalization.study()
    assert all(row.passed for row in rows), [row for row in rows if not row.passed]
    assert {"R^2", "R^3", "R^16", "R^128", "R^512", "R", "r > 0"} <= {row.space for row in rows}


# Computed with scipy.special.hyp2f1 in logarithms, to the digits shown.
@pytest.mark.parametrize(("scale", "expected"), [(0.01, 3.196), (0.08, -2.556), (0.5, -29.714)])
def test_the_student_t_on_the_sphere_is_not_normalized(scale, expected):
    density = normalization.student_t(1.0, np.eye(128)[0], np.full(128, scale))
    assert quadrature.log_integral_over_sphere(density, 128, scale) == pytest.approx(expected, abs=1e-3)
    assert normalization.log_spherical_normalizer(1.0, 128, scale) == pytest.approx(expected, abs=1e-3)
