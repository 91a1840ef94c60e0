"""How often checkpoints are written."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vje_ppl.runs.checkpoint import PATIENCE, CheckpointInterval

MILLISECONDS = st.integers(1, 10_000)


class Run:
    """Epochs and writings on a clock that only they advance, in milliseconds."""

    def __init__(self):
        self.time = 0
        self.saves = []  # end and duration of each
        self.clock = CheckpointInterval(lambda: self.time)

    def epoch(self, takes, writing_takes):
        self.time += takes
        if self.clock.due:
            with self.clock:
                self.time += writing_takes
            self.saves.append((self.time, writing_takes))


def run_of(epochs):
    run = Run()
    for takes, writing_takes in epochs:
        run.epoch(takes, writing_takes)
    return run


def test_saves_each_epoch_that_is_long_enough():
    assert len(run_of([(PATIENCE, 1)] * 50).saves) == 50


def test_saves_one_in_so_many_short_epochs():
    assert [end for end, _ in run_of([(1, 1)] * (1 + 3 * PATIENCE)).saves] == [2 + n * (PATIENCE + 1) for n in range(4)]


def test_saves_the_first_time_however_early():
    assert len(run_of([(0, 1000)]).saves) == 1


@settings(deadline=None, derandomize=True, database=None)
@given(epochs=st.lists(st.tuples(MILLISECONDS, MILLISECONDS), min_size=1, max_size=200))
def test_writing_takes_its_share_at_most_and_little_is_lost(epochs):
    run = run_of(epochs)
    *earlier, last = (took for _, took in run.saves)
    assert sum(earlier) * (PATIENCE + 1) <= run.time
    assert run.time - run.saves[-1][0] <= PATIENCE * last + max(takes for takes, _ in epochs)
