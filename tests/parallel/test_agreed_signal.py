"""Processes stop after the same step, whichever of them a signal reaches, and when."""

from __future__ import annotations

import signal
import time

import pytest

from tests.helpers.together import together
from vje_ppl.parallel.interrupt import AgreedSignal

STEPS = 6


def answers(rank, noted):
    """What a process is told in each step; `noted` holds, by rank, the step from which on it has noted a signal."""
    agreed = AgreedSignal(2)
    return [agreed(signal.SIGTERM if noted[rank] <= step else None) for step in range(STEPS)]


def far_apart(rank, flag):
    """The first process takes its first step before the second one begins with it."""
    agreed = AgreedSignal(2)
    if rank == 1:
        while not flag.exists():
            time.sleep(0.01)
    first = agreed(None)
    flag.touch()
    return first, agreed(signal.SIGUSR1 if rank == 1 else None), agreed(None)


@pytest.mark.parametrize(
    "noted", [{0: 99, 1: 2}, {0: 2, 1: 99}, {0: 2, 1: 4}], ids=["second alone", "first alone", "at different steps"]
)
def test_all_hear_of_a_signal_after_the_same_step(noted):
    expected = [None] * 3 + [signal.SIGTERM] * (STEPS - 3)  # noted in the step 2, heard of in the next one
    assert together(answers, noted) == [expected, expected]


def test_no_process_waits_for_one_that_is_a_step_behind(tmp_path):
    assert together(far_apart, tmp_path / "flag") == [(None, None, signal.SIGUSR1)] * 2


def test_a_single_process_hears_itself_at_once():
    agreed = AgreedSignal(1)
    assert [agreed(None), agreed(signal.SIGINT), agreed(None)] == [None, signal.SIGINT, None]
