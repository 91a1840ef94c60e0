"""A run that is killed goes on as if nothing had happened, to the last bit."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest
from PIL import Image

from tests.helpers.commands import SMALL
from tests.helpers.processes import Command, run
from tests.helpers.states import compare, final_state

LONG = (*SMALL, "trainer.epochs=30", "trainer.checkpoint_every=1", "trainer.progress=false")


def finish(folder, *overrides):
    done = run(folder, "vje_ppl.train", *overrides)
    assert done.returncode == 0, done.stderr
    return done.stdout


def signal_once_under_way(folder, number, *overrides, delay=0.0):
    """Start a run, signal it after its first checkpoint, and return its exit code and output."""
    process = Command(folder, "vje_ppl.train", *overrides)
    last, end = folder / "runs" / "killed" / "checkpoints" / "last.pt", time.monotonic() + 120
    while not last.exists():
        assert process.poll() is None, process.wait().stderr
        assert time.monotonic() < end
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(number)
    done = process.wait()
    if number != signal.SIGKILL:  # data workers that outlive a killed process may say that it is gone
        assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The state in which the undisturbed digits run ends."""
    folder = tmp_path_factory.mktemp("straight")
    finish(folder, *LONG, "run.name=straight")
    return final_state(folder / "runs" / "straight")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_signalled_run_ends_as_if_undisturbed(tmp_path, straight, number):
    code, output = signal_once_under_way(tmp_path, number, *LONG, "run.name=killed", delay=0.2)
    if number == signal.SIGKILL:
        assert code == -number
    else:
        assert code == 128 + number
        assert "interrupted" in output
    assert "resumes after epoch" in finish(tmp_path, *LONG, "run.name=killed")
    compare(straight, final_state(tmp_path / "runs" / "killed"))


@pytest.mark.slow
def test_kill_9_with_workers_and_bf16(tmp_path):
    draw = np.random.default_rng(0)
    for number in range(48):
        path = tmp_path / "images" / f"{number % 2}" / f"{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Larger than what is held in memory, and of several sizes, so workers decode it.
        size = (int(draw.integers(100, 140)), int(draw.integers(100, 140)), 3)
        Image.fromarray(draw.integers(0, 256, size, dtype=np.uint8)).save(path)
    overrides = (
        *("data=image_folder", "data.root=images", "data.workers=2", "augment.size=32", "batch_size=8"),
        *("encoder=small_resnet", "encoder.width=4", "trainer.precision=bf16", "trainer.epochs=8", "knn.every=4"),
        "trainer.checkpoint_every=1",
    )
    assert "from files" in finish(tmp_path, *overrides, "run.name=straight")
    code, _ = signal_once_under_way(tmp_path, signal.SIGKILL, *overrides, "run.name=killed", delay=0.2)
    assert code == -signal.SIGKILL
    finish(tmp_path, *overrides, "run.name=killed")
    compare(*(final_state(tmp_path / "runs" / name) for name in ("straight", "killed")))
