"""Quadrature over R^D and the unit sphere, which notices when something is amiss."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from vje_ppl.crosscheck import normalization, quadrature


def test_a_von_mises_fisher_integrates_to_one_on_the_sphere():
    loc = np.eye(3)[0]
    found = quadrature.log_integral_over_sphere(stats.vonmises_fisher(loc, 20.0).logpdf, 3, 0.2)
    assert found == pytest.approx(0.0, abs=1e-11)


def test_quadrature_notices_a_missing_normalizer():
    loc, scale = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    density = normalization.student_t(3.0, loc, scale)

    def without_scale(points):
        return density(points) + np.log(scale).sum()

    found = quadrature.log_integral_over_space(without_scale, loc, scale, 3.0)
    assert found == pytest.approx(math.log(1.5), abs=1e-12)


def test_quadrature_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="anisotropic density expects D of 2 or 3, got 4"):
        quadrature.log_integral_over_space(lambda x: x, np.zeros(4), np.ones(4), 1.0)
