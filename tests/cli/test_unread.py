"""Output into a pipe that is closed early, as by `head`: no traceback, and what was made is kept."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.commands import SMALL, environment

UNREAD = 128 + 13  # SIGPIPE, as a shell counts it


def run_unread(folder, module, *overrides, lines=0, **variables):
    """Run a command whose output is closed after so many lines; returns its exit code and what it said of errors."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *overrides],
        cwd=folder,
        env=environment() | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    return process.returncode, errors


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


def test_another_broken_pipe_is_no_matter_of_output():
    program = "from vje_ppl.terminal.command import _is_unread as f; print(f(BrokenPipeError()), f(ValueError()))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    assert done.stdout == "False False\n"
