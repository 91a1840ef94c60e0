"""Output into a pipe that is closed early, as by `head`: no traceback, and what was made is kept."""

from __future__ import annotations

import pytest

from tests.helpers.commands import SMALL
from tests.helpers.processes import Command
from vje_ppl.terminal.command import _is_unread

UNREAD = 128 + 13  # SIGPIPE, as a shell counts it


def run_unread(folder, module, *overrides, lines=0, **variables):
    """Run a command whose output is closed after so many lines; returns its exit code and what it said of errors."""
    process = Command(folder, module, *overrides, pipe=True, **variables)
    for _ in range(lines):
        process.stdout.readline()
    process.stdout.close()
    done = process.wait()
    return done.returncode, done.stderr


def test_a_table_that_nobody_reads_is_written(tmp_path):
    assert run_unread(tmp_path, "vje_ppl.reproduce", "figure=2", lines=1) == (UNREAD, "")
    assert len(list(tmp_path.glob("reproduced/figure_2-small/*"))) >= 3


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_run_that_nobody_follows_ends_quietly(tmp_path, unbuffered):
    overrides = (*SMALL, "trainer.epochs=40", "run.name=a", "trainer.device=cpu")
    code, errors = run_unread(tmp_path, "vje_ppl.train", *overrides, PYTHONUNBUFFERED=unbuffered)
    assert (code, errors) == (UNREAD, "")


def test_a_configuration_that_nobody_reads_ends_quietly(tmp_path):
    assert run_unread(tmp_path, "vje_ppl.train", "--cfg", "job", PYTHONUNBUFFERED="1") == (UNREAD, "")


def test_another_broken_pipe_is_no_matter_of_output(capfd):
    assert not _is_unread(BrokenPipeError())
    assert not _is_unread(ValueError())
