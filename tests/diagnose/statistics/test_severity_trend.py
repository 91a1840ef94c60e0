from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

from vje_ppl.diagnose.statistics.posterior_scale import severity_correlation


def test_severity_correlation_equals_scipy_image_by_image():
    values = np.random.default_rng(0).integers(0, 5, (6, 40)).astype(float)  # with many equal ones
    values[0, values.std(0) == 0] += 1

    expected = [spearmanr(np.arange(6), values[:, image]).statistic for image in range(40)]

    np.testing.assert_allclose(severity_correlation(values), expected, atol=1e-12)


def test_severity_correlation_is_one_where_it_rises_and_zero_where_nothing_changes():
    values = np.array([[1.0, 3.0, 2.0], [2.0, 2.0, 2.0], [9.0, 1.0, 2.0]])

    np.testing.assert_allclose(severity_correlation(values), [1, -1, 0], atol=1e-12)
