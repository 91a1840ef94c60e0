"""A disk that takes no more: one sentence, nothing that was there is lost, and the run goes on when there is room."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.helpers.commands import SMALL, environment, one_sentence
from tests.helpers.states import compare, final_state

#: The largest file that the disk takes, once a file of this name is about to be written.
PROGRAM = """
import errno, os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write fails with an error, as on a full disk
name, size, count, command = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
left = [count]

def fill(event, arguments):
    if event == "open" and os.path.basename(str(arguments[0])) == f".{name}.tmp" and str(arguments[1])[:1] == "x":
        left[0] -= 1
        if left[0] == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

sys.addaudithook(fill)
sys.argv = [command, *sys.argv[5:]]
__import__("importlib").import_module(f"{command}.__main__").main()
"""
RUN = (*SMALL, "trainer.epochs=3", "knn.every=1", "trainer.progress=false", "run.name=a")


def run(folder, command, *overrides, fill=None):
    """A command on a disk that is full from the `count`-th writing of a file on."""
    name, size, count = fill or ("nothing", 0, 1)
    arguments = [sys.executable, "-W", "ignore", "-c", PROGRAM, name, str(size), str(count), command, *overrides]
    return subprocess.run(
        arguments, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600, check=False
    )


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The state in which the undisturbed run ends."""
    folder = tmp_path_factory.mktemp("straight")
    done = run(folder, "vje_ppl.train", *RUN)
    assert done.returncode == 0, done.stderr
    return final_state(folder / "runs" / "a")


#: What is being written when the disk fills up, and the epochs that the checkpoint then holds.
FILES = {
    "first config": ("config.yaml", 100, 1, None),
    "metrics.csv": ("metrics.csv", 100, 3, 1),
    "curves.png": ("curves.png", 5_000, 3, 1),
    "checkpoint": ("last.pt", 5_000, 3, 1),
    "metrics.json": ("metrics.json", 100, 1, 3),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size", "count", "epochs"), FILES.values(), ids=FILES)
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_later(tmp_path, straight, name, size, count, epochs):
    said = one_sentence(run(tmp_path, "vje_ppl.train", *RUN, fill=(name, size, count)))
    assert f"{name} could not be written: file too large; free some space there" in said
    folder = tmp_path / "runs" / "a"
    if epochs is None:
        assert not list((folder / "checkpoints").iterdir())
    else:
        assert final_state(folder)["epoch"] == epochs
    assert not list(folder.rglob("*.tmp"))

    again = run(tmp_path, "vje_ppl.train", *RUN)
    assert again.returncode == 0, again.stderr
    compare(straight, final_state(folder))
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["epoch"] == 3
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_disk_full_for_an_evaluation_keeps_the_report_of_before(tmp_path):
    assert run(tmp_path, "vje_ppl.train", *RUN).returncode == 0
    evaluate = ("vje_ppl.evaluate", "run=runs/a", "eval=knn")
    assert run(tmp_path, *evaluate).returncode == 0
    report = tmp_path / "runs" / "a" / "evaluation.json"
    before = report.read_bytes()
    said = one_sentence(run(tmp_path, *evaluate, "knn.temperature=0.2", fill=("evaluation.json", 50, 1)))
    assert "evaluation.json could not be written: file too large; free some space there" in said
    assert report.read_bytes() == before
    assert run(tmp_path, *evaluate, "knn.temperature=0.2").returncode == 0
    assert report.read_bytes() != before


#: A disk of one megabyte, made in a namespace of its own, with most of it taken.
SMALL_DISK = """
import ctypes, os, sys
user, group = os.getuid(), os.getgid()
try:
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
    open("/proc/self/setgroups", "w").write("deny")
    open("/proc/self/uid_map", "w").write(f"0 {user} 1")
    open("/proc/self/gid_map", "w").write(f"0 {group} 1")
    if ctypes.CDLL(None, use_errno=True).mount(b"none", os.fsencode(sys.argv[1]), b"tmpfs", 0, b"size=1m") != 0:
        raise OSError(ctypes.get_errno(), "mount")
except OSError as error:
    print(f"unavailable: {error}")
    sys.exit(77)
import subprocess
filler = os.path.join(sys.argv[1], "filler")
open(filler, "wb").write(bytes(int(sys.argv[2])))
command = [sys.executable, "-W", "ignore", "-m", "vje_ppl.train", *sys.argv[3:], f"run.root={sys.argv[1]}"]
first = subprocess.run(command).returncode
os.remove(filler)
print("SECOND", flush=True)
second = subprocess.run(command).returncode
print(f"CODES {first} {second}", flush=True)
"""


@pytest.mark.slow
def test_a_real_small_disk_that_is_full_and_then_is_not(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    room = 90_000  # for the first files and a checkpoint, not for all of them
    arguments = [sys.executable, "-c", SMALL_DISK, str(disk), str(2**20 - room), *RUN]
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True, timeout=600, check=False)
    if done.returncode == 77:
        pytest.skip(f"this system lets no process mount a small disk: {done.stdout}")
    assert "CODES 2 0" in done.stdout, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "could not be written: no space left on device; free some space there" in errors[0]
    assert "Traceback" not in done.stderr
    assert "resumes after epoch" in done.stdout.partition("SECOND")[2]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM], ids=["SIGTERM"])
def test_a_signal_on_a_full_disk_says_so_and_keeps_the_last_good_state(tmp_path, number):
    stopping = tmp_path / "stopping.py"
    stopping.write_text(
        "import os, signal\nfrom vje_ppl.networks.encoders import MLP\n\n\nclass Encoder(MLP):\n    calls = 0\n\n"
        "    def forward(self, images):\n        self.calls += self.training\n        if self.calls == 12:\n"
        f"            os.kill(os.getpid(), {int(number)})\n        return super().forward(images)\n",
        encoding="utf-8",
    )
    part = "encoder._target_=stopping.Encoder"
    here = {"PYTHONPATH": str(tmp_path), **environment()}
    arguments = [sys.executable, "-W", "ignore", "-c", PROGRAM, "last.pt", "5000", "3", "vje_ppl.train", *RUN, part]
    done = subprocess.run(arguments, cwd=tmp_path, env=here, capture_output=True, text=True, timeout=600, check=False)
    assert "last.pt could not be written: file too large" in one_sentence(done)
    assert final_state(tmp_path / "runs" / "a")["epoch"] == 1
    assert os.path.exists(tmp_path / "runs" / "a" / "checkpoints" / "previous.pt")
