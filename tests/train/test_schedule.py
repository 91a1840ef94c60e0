"""The learning rate over a run."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vje_ppl.train.step import learning_rate_factor


@settings(deadline=None, derandomize=True, database=None)
@given(steps=st.integers(1, 10_000), share=st.floats(0, 2), where=st.floats(0, 1))
def test_lies_between_zero_and_one(steps, share, where):
    step, warmup = int(where * (steps - 1)), int(share * steps)
    assert 0 <= learning_rate_factor(step, steps, warmup) <= 1


def test_warms_up_linearly_to_one():
    assert [learning_rate_factor(step, 100, 4) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_falls_by_half_a_cosine_to_zero():
    factors = [learning_rate_factor(step, 100, 20) for step in range(20, 101)]
    assert factors[0] == 1
    assert factors[40] == pytest.approx(0.5)
    assert factors[20] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert factors[-1] == pytest.approx(0)
    assert all(later < earlier for earlier, later in pairwise(factors))


def test_needs_no_warm_up():
    assert learning_rate_factor(0, 10, 0) == 1
    assert learning_rate_factor(0, 0, 0) == 1


def test_warm_up_longer_than_the_run_only_rises():
    assert [learning_rate_factor(step, 2, 4) for step in range(2)] == [0.25, 0.5]
