import csv
import fcntl
import json
import math
import os
import signal
import time
import warnings

import pytest
from omegaconf import OmegaConf

from tests.settings.test_identity import CONFIG
from vje_ppl.errors import UserError
from vje_ppl.runs import folder as run_folder
from vje_ppl.runs.files import write_atomically
from vje_ppl.runs.folder import RunFolder, read_config
from vje_ppl.settings.identity import config_digest


def fork(work):
    """Runs `work` in a child, which says over a pipe that it got past it, and then waits to be killed."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside torch's threads: it uses none of them
        child = os.fork()
    if child == 0:
        try:
            word = work() or "done"
        except UserError as error:
            word = str(error)
        os.write(writer, word.encode())
        os.close(writer)
        time.sleep(60)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        return child, pipe.read()


def holding(root):
    """Work for a child: take the lock, and keep it."""
    return lambda: RunFolder(root, "a").lock()


def assert_free(root, name="a"):
    folder = RunFolder(root, name)
    folder.lock()
    folder.unlock()


@pytest.fixture(autouse=True)
def locks():
    """No test leaves a lock to another."""
    yield
    for file in list(run_folder._LOCKS):
        run_folder._drop_lock(file)


def kill(*children):
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_folder_and_paths(tmp_path):
    folder = RunFolder(tmp_path / "runs", "sweep/a-1")

    assert folder.path == tmp_path / "runs" / "sweep" / "a-1"
    assert folder.checkpoints.is_dir()
    files = [folder.config, folder.metrics_csv, folder.metrics_json, folder.curves, folder.checkpoints]
    names = ["config.yaml", "metrics.csv", "metrics.json", "curves.png", "checkpoints"]
    assert files == [folder.path / name for name in names]
    assert [entry.name for entry in folder.path.iterdir()] == ["checkpoints"]
    assert list(folder.checkpoints.iterdir()) == []
    assert RunFolder(tmp_path / "runs", "sweep/a-1").path == folder.path


@pytest.mark.parametrize("name", ["", ".", "..", "a/../../b", "/tmp/elsewhere"])
def test_names_that_leave_the_root_are_refused(name, tmp_path):
    with pytest.raises(UserError, match=r"run\.name must be the name of a folder below run\.root"):
        RunFolder(tmp_path, name)


@pytest.mark.parametrize("where", ["runs", "runs/a", "runs/a/checkpoints"])
def test_a_file_in_the_way_is_named(where, tmp_path):
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / where).write_text("mine")

    with pytest.raises(UserError) as caught:
        RunFolder(tmp_path / "runs", "a")

    assert f"a file is in the way ({tmp_path / where})" in str(caught.value)
    assert (tmp_path / where).read_text() == "mine"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder where nobody may write")
def test_a_folder_where_nobody_may_write_is_one_sentence():
    with pytest.raises(UserError, match=r"The run folder /proc/self/runs/a cannot be used: .*run\.root"):
        RunFolder("/proc/self/runs", "a")


def test_config_comes_back(tmp_path):
    folder = RunFolder(tmp_path, "a")
    assert read_config(folder.config) is None
    config = CONFIG | {"text": ["1e-3", "yes", "null", "a: b", "Ἀ"], "tiny": 1e-5, "nothing": None}

    folder.write_config(config)

    assert read_config(folder.config) == config
    assert OmegaConf.to_container(OmegaConf.load(folder.config)) == config
    assert config_digest(read_config(folder.config)) == config_digest(config)


@pytest.mark.parametrize("text", ["a: [1, 2", "- 1\n- 2\n", "a: ${"], ids=["not-yaml", "list", "interpolation"])
def test_a_broken_config_is_one_sentence(text, tmp_path):
    folder = RunFolder(tmp_path, "a")
    folder.config.write_text(text)

    with pytest.raises(UserError, match=r"config\.yaml"):
        read_config(folder.config)


def test_rows_share_the_union_of_columns(tmp_path):
    folder = RunFolder(tmp_path, "a")
    rows = [{"epoch": 0, "knn/z": 0.25}, {"epoch": 1, "elbo": -1 / 3, "kl": None}, {"epoch": 2, "elbo": math.nan}]

    folder.write_rows(rows[:1])
    folder.write_rows(rows)

    assert folder.metrics_csv.read_text().splitlines()[0] == "epoch,knn/z,elbo,kl"
    with folder.metrics_csv.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["epoch"] for row in read] == ["0", "1", "2"]
    assert [row["knn/z"] for row in read] == ["0.25", "", ""]
    assert float(read[1]["elbo"]) == -1 / 3
    assert read[1]["kl"] == ""
    assert read[2]["elbo"] == "nan"


def test_metrics_are_json_without_infinities(tmp_path):
    folder = RunFolder(tmp_path, "a")

    folder.write_metrics(
        {"elbo": math.nan, "knn": {"z": 0.1 + 0.2, "all": [math.inf, -math.inf, 1]}, "n": None, "β": "é"}
    )

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    read = json.loads(folder.metrics_json.read_text(encoding="utf-8"), parse_constant=refuse)
    assert read == {"elbo": None, "knn": {"z": 0.1 + 0.2, "all": [None, None, 1]}, "n": None, "β": "é"}


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    write_atomically(path, b"old")
    (tmp_path / ".metrics.json.tmp").write_bytes(b"half, of a process that was killed")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="no space left on device; free some space"):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.json"]

    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_one_run_at_a_time(tmp_path):
    first, second = RunFolder(tmp_path, "a"), RunFolder(tmp_path, "a")

    first.lock()
    first.lock()
    with pytest.raises(UserError, match=f"in use by process {os.getpid()} on .*: wait for it, stop it"):
        second.lock()
    first.unlock()
    second.lock()
    with pytest.raises(UserError, match="in use"):
        first.lock()
    second.unlock()
    second.unlock()
    assert_free(tmp_path)
    assert_free(tmp_path, "b")


def test_a_lock_ends_with_its_process_even_by_kill(tmp_path):
    child, word = fork(holding(tmp_path))
    assert word == "done"
    folder = RunFolder(tmp_path, "a")

    with pytest.raises(UserError, match=f"in use by process {child} on "):
        folder.lock()
    kill(child)
    assert_free(tmp_path)


def test_a_worker_that_outlives_a_killed_run_does_not_hold_its_lock(tmp_path):
    folder = RunFolder(tmp_path, "a")
    folder.lock()
    worker, _ = fork(lambda: None)
    try:
        with pytest.raises(UserError, match="in use"):
            RunFolder(tmp_path, "a").lock()
        folder.unlock()
        assert_free(tmp_path)
    finally:
        kill(worker)


def test_of_many_processes_at_once_exactly_one_gets_the_lock(tmp_path):
    words = dict(fork(holding(tmp_path)) for _ in range(6))
    try:
        assert sorted(word == "done" for word in words.values()) == [False] * 5 + [True]
        assert all("in use by process" in word for word in words.values() if word != "done")
    finally:
        kill(*words)


def test_moving_aside_makes_room_and_numbers_what_was_there(tmp_path):
    folder = RunFolder(tmp_path, "a")
    folder.lock()
    assert folder.move_aside() is None

    for number, seed in ((1, 10), (2, 20)):
        folder.write_config({"seed": seed})
        moved = folder.move_aside()
        assert moved == tmp_path / f"a.{number}"
        assert OmegaConf.load(moved / "config.yaml").seed == seed
        assert read_config(folder.config) is None
        assert folder.checkpoints.is_dir()
    (folder.checkpoints / "last.pt").touch()
    (tmp_path / "a.3").touch()
    assert folder.move_aside() == tmp_path / "a.4"
    assert_free(tmp_path, "a.4")

    with pytest.raises(UserError, match="in use"):
        RunFolder(tmp_path, "a").lock()
    folder.unlock()
    assert_free(tmp_path)


def test_a_run_in_progress_is_not_moved_aside(tmp_path):
    running = RunFolder(tmp_path, "a")
    running.write_config({"seed": 1})
    running.lock()

    with pytest.raises(UserError, match="in use"):
        RunFolder(tmp_path, "a").move_aside()

    assert read_config(running.config) == {"seed": 1}
    running.unlock()
    other = RunFolder(tmp_path, "a")
    assert other.move_aside() == tmp_path / "a.1"
    assert_free(tmp_path)


def test_a_lock_on_a_folder_that_was_moved_meanwhile_is_not_taken_for_the_new_one(tmp_path, monkeypatch):
    waiting = RunFolder(tmp_path, "a")
    waiting.write_config({"seed": 1})
    take, moved = fcntl.flock, []

    def move_first(file, operation):
        if not moved:
            moved.append(waiting.path.rename(tmp_path / "a.1"))
        take(file, operation)

    monkeypatch.setattr(fcntl, "flock", move_first)
    waiting.lock()

    with pytest.raises(UserError, match="in use"):
        RunFolder(tmp_path, "a").lock()
    assert (tmp_path / "a.1" / ".lock").read_text() == ""


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious", encoding="utf-8")
    folder = RunFolder(tmp_path, "run")
    (folder.path / ".lock").symlink_to(precious)
    with pytest.raises(UserError, match="it is a link to another place; remove the link"):
        folder.lock()
    assert precious.read_text(encoding="utf-8") == "precious"
