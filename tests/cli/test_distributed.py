"""Several processes do what one would, whoever starts them, and whatever happens to one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.helpers.commands import SMALL, environment
from tests.helpers.states import final_state

TOGETHER = (*SMALL, "norm=group", "trainer.device=cpu", "knn.every=1")

#: Some 90 steps with a checkpoint after each, so that a signal comes in the middle of an epoch.
LONG = (*TOGETHER, "data.subset=1437", "batch_size=48", "trainer.epochs=3", "trainer.checkpoint_every=1", "knn.every=3")
STEPS = 3 * (1437 // 48)

ALONE = (sys.executable, "-m", "vje_ppl.train")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "vje_ppl.train")
#: Two processes, by who starts them.
STARTED = {"torchrun": TORCHRUN, "fabric": (*ALONE, "trainer.devices=2")}

#: Far more than any of these takes, on however busy a machine.
PATIENCE = 300


def start(folder: Path, *command: str) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=environment(), text=True, **pipes)


def end(process: subprocess.Popen) -> tuple[int, str, str]:
    """Exit code and output; what hangs is ended, and the test with it."""
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    finally:
        if process.returncode is None:
            for number in below(process.pid):
                os.kill(number, signal.SIGKILL)
    return process.returncode, output, errors


def finish(folder: Path, *command: str) -> str:
    code, output, errors = end(start(folder, *command))
    assert code == 0, errors
    return output


def below(number: int) -> list[int]:
    """A process, and those that it has started, and those that they have."""
    threads = Path(f"/proc/{number}/task").glob("*/children")
    return [number, *(one for thread in threads for child in thread.read_text().split() for one in below(int(child)))]


def ranks(process: subprocess.Popen) -> dict[int, int]:
    """Process ids by rank, of those that train."""
    found = {}
    for number in below(process.pid):
        if "torch.distributed.run" not in Path(f"/proc/{number}/cmdline").read_text():
            variables = dict(
                word.partition("=")[::2] for word in Path(f"/proc/{number}/environ").read_text().split("\0")
            )
            found[int(variables.get("LOCAL_RANK", "0"))] = number
    assert found.keys() == {0, 1}
    return found


def under_way(folder: Path, *command: str) -> subprocess.Popen:
    """A run that has saved its first steps."""
    process, until = start(folder, *command), time.monotonic() + PATIENCE
    while not list(folder.glob("runs/*/checkpoints/previous.pt")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.01)
    return process


def assert_trained_alike(one: dict, other: dict, untrained: dict) -> None:
    """Weights agree to a thousandth of what training has moved them.

    A step that is left out or taken twice is a hundredth of the way, and sums in another order change each gradient by
    some 1e-6 of itself, which grows over the steps by a factor well below a hundred.
    """
    assert one["epoch"] == other["epoch"]
    for name, weight in one["module"].items():
        moved = (weight - untrained["module"][name]).double().norm()
        assert (weight - other["module"][name]).double().norm() <= 1e-3 * moved, name
    assert len(one["history"]) == len(other["history"])
    for left, right in zip(one["history"][1:], other["history"][1:], strict=True):
        for name in ("loss", "elbo", "kl", "log_likelihood/direction", "log_likelihood/radius"):
            assert abs(left[name] - right[name]) <= 1e-3 * (1 + abs(left[name])), name


FROZEN = ("encoder.freeze=1", "optimizer.encoder_lr=1e-4")


@pytest.mark.parametrize("further", [(), FROZEN], ids=["all trained", "a stage frozen"])
def test_two_gloo_processes_end_with_the_weights_of_one(further, train, tmp_path):
    result = finish(tmp_path, *ALONE, *TOGETHER, *further, "trainer.devices=2", "run.name=two")
    assert result.count("run     runs/two") == 1  # only the first process prints
    assert train(*TOGETHER, *further, "run.name=one", small=False).returncode == 0
    one, two = (final_state(tmp_path / "runs" / name) for name in ("one", "two"))
    assert one["epoch"] == two["epoch"]
    # Gradients are summed in another order, over eight steps of at most the learning rate, 1e-3, each.
    for name, weight in one["module"].items():
        torch.testing.assert_close(two["module"][name], weight, rtol=1e-4, atol=1e-5, msg=name)
    for left, right in zip(one["history"][1:], two["history"][1:], strict=True):
        for name in ("loss", "elbo", "kl", "log_likelihood/direction", "log_likelihood/radius"):
            assert abs(left[name] - right[name]) <= 1e-4 * (1 + abs(left[name])), name
    # Untrained weights are the same to the last bit, and so are what all processes together make of the images.
    for name in ("knn/z", "knn/mu", "knn/pixels", "knn/bank", "knn/queries", "rankme", "lidar"):
        assert one["history"][0][name] == two["history"][0][name], name


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The end, and the beginning, of the long run in one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(folder, *ALONE, *LONG, "run.name=whole")
    finish(folder, *ALONE, *LONG, "trainer.epochs=0", "run.name=untrained")
    return tuple(final_state(folder / "runs" / name) for name in ("whole", "untrained"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_of_two_stops_both_and_one_goes_on(tmp_path, undisturbed, number, rank):
    starter = "fabric" if (rank == 0) == (number == signal.SIGTERM) else "torchrun"
    process = under_way(tmp_path, *STARTED[starter], *LONG, "run.name=a")
    os.kill(ranks(process)[rank], number)
    code, output, errors = end(process)
    assert "interrupted: state saved" in output, errors
    assert code == (128 + number if starter == "fabric" else 1), errors  # torchrun has one code for all failures
    state = final_state(tmp_path / "runs" / "a")
    assert 0 < state["epoch"] * (STEPS // 3) + state["step_in_epoch"] < STEPS
    assert "resumes after epoch" in finish(tmp_path, *ALONE, *LONG, "run.name=a")
    assert_trained_alike(undisturbed[0], final_state(tmp_path / "runs" / "a"), undisturbed[1])


@pytest.mark.slow
def test_two_go_on_with_what_one_has_begun(tmp_path, undisturbed):
    process = under_way(tmp_path, *ALONE, *LONG, "run.name=a")
    process.send_signal(signal.SIGUSR1)
    code, output, errors = end(process)
    assert code == 128 + signal.SIGUSR1, errors
    assert "interrupted: state saved" in output
    assert final_state(tmp_path / "runs" / "a")["epoch"] < 3
    assert "resumes after epoch" in finish(tmp_path, *TORCHRUN, *LONG, "run.name=a")
    assert_trained_alike(undisturbed[0], final_state(tmp_path / "runs" / "a"), undisturbed[1])


@pytest.mark.slow
@pytest.mark.parametrize("starter", STARTED)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_ends_the_run(tmp_path, starter, rank):
    process = under_way(tmp_path, *STARTED[starter], *LONG, "run.name=a")
    os.kill(ranks(process)[rank], signal.SIGKILL)
    code, _, errors = end(process)
    assert code != 0
    assert "vje_ppl/train/loop.py" not in errors  # as in a traceback
    if starter == "fabric":  # torchrun ends the other one before it notices, and says which died
        assert "error: Another process of this run died" in errors
        assert "Rerun the same command" in errors
    assert final_state(tmp_path / "runs" / "a")["epoch"] < 3


#: Notes what each process opens for writing, creates or moves below the folder `runs`, beside it.
WATCH = """
import os, sys

def note(event, arguments):
    path = str(arguments[0]) if arguments else ""
    writes = event == "open" and (any(mode in (arguments[1] or "") for mode in "wax+") or arguments[2] & 3)
    if (writes or event in ("os.mkdir", "os.rename", "os.remove", "os.link")) and "/runs/" in os.path.abspath(path):
        file = os.open(os.path.join(WATCHED, f"rank-{os.environ.get('LOCAL_RANK', 0)}"), os.O_CREAT | os.O_APPEND | 1)
        os.write(file, f"{event} {path}\\n".encode())
        os.close(file)

sys.addaudithook(note)
"""


@pytest.mark.slow
def test_evaluation_is_the_same_and_only_the_first_process_writes(train, tmp_path, monkeypatch):
    """Also the models of one class, which both train; afterwards they are there, for one process to find."""
    assert train(*TOGETHER, "run.name=a", "data.subset=400", small=False).returncode == 0
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(f"WATCHED = {str(tmp_path)!r}\n{WATCH}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "watch"))
    quick = ("linear.epochs=2", "scores.samples=2", "scores.pairs=1", "scores.aggregate.images=40", "batch_size=96")
    quick += ("scores.rank_draws=4", "scores.regret.steps=2")
    quick += ("one_class.classes=[3]", "one_class.epochs=1")
    command = ("run=runs/a", "eval=[knn,linear,one_class,ood,uncertainty]", *quick)
    evaluate = ("-m", "vje_ppl.evaluate", *command)
    output = finish(tmp_path, sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", *evaluate)
    assert output.count("evaluation.json") == 1  # only the first process prints
    written = (tmp_path / "rank-0").read_text()
    assert "evaluation.json" in written
    assert "one_class/3/checkpoints" in written
    assert not (tmp_path / "rank-1").exists()
    monkeypatch.delenv("PYTHONPATH")

    def rows():
        report = json.loads((tmp_path / "runs" / "a" / "evaluation.json").read_text())
        return {kind: report[kind]["rows"] for kind in ("knn", "linear", "one_class", "ood", "uncertainty")}

    together = rows()
    (tmp_path / "runs" / "a" / "evaluation.json").unlink()
    finish(tmp_path, sys.executable, *evaluate)
    assert together == rows()
