"""Running error analysis: values, magnitudes, and the bound they promise."""

from __future__ import annotations

import numpy as np
import pytest

from vje_ppl.crosscheck.rounded import Rounded, as_rounded, stack

UNIT = 2.0**-24


def test_the_magnitude_of_a_cancelling_sum_is_that_of_its_terms():
    total = as_rounded([1e8, -1e8, 1.0]).sum()
    assert total.value == 1.0
    assert total.magnitude == 2e8 + 1


def test_inputs_are_exact_and_each_operation_rounds_once():
    x, y = as_rounded(3.0), as_rounded(4.0)
    assert x.magnitude == 0
    assert (x + y).magnitude == 7
    assert (x * y).magnitude == 12
    assert (x - 3.0).magnitude == 0
    assert ((x + y) * y).magnitude == pytest.approx(4 * 7 + 28)
    assert (x + y).log().magnitude == pytest.approx(1 + np.log(7))


@pytest.mark.parametrize("seed", range(5))
def test_float32_evaluation_stays_within_the_bound(seed):
    rng = np.random.default_rng(seed)
    x, y = (np.exp(rng.normal(0, 3, 1000)).astype(np.float32) for _ in range(2))
    plain = np.log1p(np.square((x - y) / y)) * x + np.sqrt(y)
    rounded = ((as_rounded(x) - y) / y).square().log1p() * x + as_rounded(y).sqrt()
    # NumPy's log1p and sqrt are good to 4 roundings, and the bound is of first order.
    assert np.all(np.abs(plain - rounded.value) <= 4 * UNIT * rounded.magnitude)


def test_shapes_are_kept():
    rows = stack([as_rounded([1.0, 2.0]), as_rounded([3.0, 4.0])])
    assert rows.shape == (2, 2)
    assert rows.flip().value.tolist() == [[3, 4], [1, 2]]
    assert rows.only(1).value.tolist() == [[0, 0], [3, 4]]
    assert Rounded(np.zeros((2, 3)), 1.0).transpose().shape == (3, 2)
    assert as_rounded([0.5, 2.0]).clip(1.0).value.tolist() == [1, 2]


def test_angle_over_sine_is_the_ratio_with_its_slope():
    angle = np.array([0.0, 1e-4, 0.5, 1.5, 3.0])
    share = np.sin(angle / 2) ** 2
    found = Rounded(share, 1.0).angle_over_sine()
    ratio = np.append(1.0, angle[1:] / np.sin(angle[1:]))
    np.testing.assert_allclose(found.value.astype(float), ratio, rtol=1e-12)
    # d(θ/sin θ)/dx with x = sin²(θ/2), dx/dθ = sin θ / 2.
    slope = np.append(2 / 3, 2 * (np.sin(angle[1:]) - angle[1:] * np.cos(angle[1:])) / np.sin(angle[1:]) ** 3)
    np.testing.assert_allclose((found.magnitude - found.value).astype(float), slope, rtol=1e-6)
