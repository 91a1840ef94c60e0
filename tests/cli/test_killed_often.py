"""A run that is killed again and again ends as if nothing had happened; run as a script, the lives that are cut short.

The script imports everything once and forks a process for each life, which would otherwise spend its time on imports.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_kill import finish
from tests.helpers.commands import SMALL, environment
from tests.helpers.states import compare, final_state

KILLS = 54
RUN = (*SMALL, "trainer.epochs=120", "trainer.progress=false")
WRITES = ("os.rename", "os.link", "os.remove", "open")


@pytest.mark.slow
def test_run_killed_fifty_times_ends_as_if_undisturbed(tmp_path):
    command = [sys.executable, "-W", "ignore", "-m", "tests.cli.test_killed_often", str(tmp_path)]
    here = environment() | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, capture_output=True, text=True, env=here, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr
    lives = json.loads(done.stdout.splitlines()[-1])
    assert len(lives) == KILLS
    assert all(life["status"] == signal.SIGKILL for life in lives), lives
    assert sum(life["left_half_a_file"] for life in lives) >= 3, "too few kills fell into a write"
    assert sum(life["saved"] for life in lives) >= KILLS / 3, "too few lives came as far as training"

    output = finish(tmp_path, *RUN, "run.name=killed")
    assert "resumes after epoch" in output
    finish(tmp_path, *RUN, "run.name=straight")
    compare(*(final_state(tmp_path / "runs" / name) for name in ("straight", "killed")))
    for name in ("metrics.csv", "metrics.json", "curves.png"):
        assert (tmp_path / "runs" / "killed" / name).is_file()
    assert not list((tmp_path / "runs" / "killed").rglob("*.tmp"))


def die_before(change, folder):
    """Kills this process right before the n-th change that it makes in a folder."""
    left = [change]

    def hook(event, arguments):
        if event not in WRITES or not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not str(arguments[1]).startswith("x"):
            return
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def live(arguments, change, checkpoints):
    """A run in a process of its own; returns its number."""
    child = os.fork()
    if child:
        return child
    from vje_ppl.train.__main__ import main

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    sys.argv = ["vje_ppl.train", *arguments]
    if change is not None:
        die_before(change, checkpoints)
    main()
    os._exit(9)  # it should have left by itself


def modified(path):
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def lives(folder):
    import vje_ppl.train.run  # before the forks, which share it

    assert vje_ppl.train.__main__.main
    os.chdir(folder)
    checkpoints = Path("runs") / "killed" / "checkpoints"
    last, draw, found = checkpoints / "last.pt", random.Random(0), []
    for number in range(KILLS):
        kind = ("at once", "under way", "in a write")[number % 3]
        before = modified(last)
        change = draw.randint(1, 12) if kind == "in a write" else None
        child = live((*RUN, "trainer.checkpoint_every=1", "run.name=killed"), change, checkpoints)
        status = None
        if kind == "at once":
            time.sleep(draw.uniform(0, 1.5))
        elif kind == "under way":
            while modified(last) == before and status is None:
                ended, code = os.waitpid(child, os.WNOHANG)
                status = code if ended else None
                time.sleep(0.001)
            time.sleep(draw.uniform(0, 0.05))
        if status is None:
            if kind != "in a write":
                os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
        left = bool(list(checkpoints.glob(".*"))) if checkpoints.is_dir() else False
        found.append({"kind": kind, "status": status, "left_half_a_file": left, "saved": modified(last) != before})
    print(json.dumps(found))


if __name__ == "__main__":
    lives(sys.argv[1])
