"""What densities integrate to: known values, and quadrature that notices when something is amiss."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from vje_ppl.crosscheck import normalization


def test_every_integral_is_what_it_should_be():
    rows = normalization.study()
    assert all(row.passed for row in rows), [row for row in rows if not row.passed]
    assert {"R^2", "R^3", "R^16", "R^128", "R^512", "R", "r > 0"} <= {row.space for row in rows}


# Computed with scipy.special.hyp2f1 in logarithms, to the digits shown.
@pytest.mark.parametrize(("scale", "expected"), [(0.01, 3.196), (0.08, -2.556), (0.5, -29.714)])
def test_the_student_t_on_the_sphere_is_not_normalized(scale, expected):
    density = normalization.student_t(1.0, np.eye(128)[0], np.full(128, scale))
    assert normalization.log_integral_over_sphere(density, 128, scale) == pytest.approx(expected, abs=1e-3)
    assert normalization.log_spherical_normalizer(1.0, 128, scale) == pytest.approx(expected, abs=1e-3)


def test_a_von_mises_fisher_integrates_to_one_on_the_sphere():
    loc = np.eye(3)[0]
    found = normalization.log_integral_over_sphere(stats.vonmises_fisher(loc, 20.0).logpdf, 3, 0.2)
    assert found == pytest.approx(0.0, abs=1e-11)


def test_quadrature_notices_a_missing_normalizer():
    loc, scale = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    density = normalization.student_t(3.0, loc, scale)

    def without_scale(points):
        return density(points) + np.log(scale).sum()

    found = normalization.log_integral_over_space(without_scale, loc, scale, 3.0)
    assert found == pytest.approx(math.log(1.5), abs=1e-12)


def test_quadrature_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="isotropic densities only"):
        normalization.log_integral_over_space(lambda x: x, np.zeros(4), np.ones(4), 1.0)


def test_the_picture_is_drawn(tmp_path):
    normalization.draw(tmp_path / "folder" / "picture.png")
    assert (tmp_path / "folder" / "picture.png").read_bytes().startswith(b"\x89PNG")
