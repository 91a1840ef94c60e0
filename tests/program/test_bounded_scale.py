"""Scales whose log-variance stays in an interval."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vje_ppl.program.bounded_scale import BoundedScale


@settings(deadline=None, derandomize=True, database=None, max_examples=50)
@given(raw=st.floats(-1e6, 1e6), low=st.floats(-20, 0), width=st.floats(0.5, 20))
def test_log_variance_stays_in_the_interval_and_grows_with_the_raw_output(raw, low, width):
    bounded = BoundedScale(low, low + width)
    scale = bounded(torch.tensor([raw, raw + 1], dtype=torch.float64))
    log_variance = 2 * scale.log()
    assert (log_variance >= low - 1e-9).all()
    assert (log_variance <= low + width + 1e-9).all()
    assert log_variance[1] >= log_variance[0]


def test_formula_at_the_default_interval():
    raw = torch.linspace(-30, 30, 13, dtype=torch.float64)
    expected = torch.exp(0.5 * (-2 + 6 * torch.tanh((raw + 2) / 6)))
    torch.testing.assert_close(BoundedScale()(raw), expected, rtol=1e-12, atol=0)


def test_is_the_identity_to_first_order_at_the_middle():
    bounded = BoundedScale(-6.0, 2.0)
    raw = torch.tensor([-2.0], dtype=torch.float64, requires_grad=True)
    log_variance = 2 * bounded(raw).log()
    assert log_variance.item() == pytest.approx(-2)
    assert torch.autograd.grad(log_variance, raw)[0].item() == pytest.approx(1)


def test_a_feature_near_a_bound_still_gets_a_gradient():
    raw = torch.tensor([-30.0, 26.0], requires_grad=True)
    BoundedScale(-8.0, 4.0)(raw).log().sum().backward()
    assert (raw.grad > 0).all()


def test_gradient_passes_gradcheck():
    raw = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(BoundedScale(), raw)


def test_values_are_finite_over_many_decades():
    raw = torch.cat([-torch.logspace(-3, 30, 34), torch.logspace(-3, 30, 34)]).requires_grad_()
    scale = BoundedScale()(raw)
    scale.sum().backward()
    assert torch.isfinite(scale).all()
    assert (scale > 0).all()
    assert torch.isfinite(raw.grad).all()


@pytest.mark.parametrize("bounds", [(-8.0, 4.0), (-3.0, -1.0), (0.0, 5.0)], ids=str)
def test_share_at_bound_counts_both_ends(bounds):
    low, high = bounds
    middle = (low + high) / 2
    log_variance = torch.tensor([[low, high, middle], [low + 0.1 * (high - low), middle, high]])
    share = BoundedScale(low, high).share_at_bound(torch.exp(log_variance / 2))
    assert share.item() == pytest.approx(3 / 6)


def test_share_at_bound_tells_saturated_from_free_outputs():
    bounded = BoundedScale()
    assert bounded.share_at_bound(bounded(torch.full((5, 5), -100.0))).item() == 1
    assert bounded.share_at_bound(bounded(torch.zeros(5, 5))).item() == 0


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)], ids=str)
def test_an_empty_interval_is_refused_in_a_sentence(low, high):
    with pytest.raises(ValueError, match="expects low < high bounds of the log-variance, got"):
        BoundedScale(low, high)
