"""Saving and loading of state; run as a script, what can only be tried in processes that may be killed."""

import ctypes
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections import OrderedDict, namedtuple
from pathlib import Path

import pytest
import torch

from vje_ppl.errors import UserError
from vje_ppl.runs import checkpoint

LAST, PREVIOUS = checkpoint.LAST, checkpoint.PREVIOUS


def some_state(step=1, size=50):
    return {
        "step": step,
        "weights": torch.full((size,), float(step)),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2, 3)}}, "groups": [{"lr": 1e-3, "betas": (0.9, 0.99)}]},
        "flags": [True, None, "ELBO β", float("inf"), 2**100, -7],
    }


def assert_equal(one, other):
    assert type(one) is type(other)
    match one:
        case torch.Tensor():
            assert one.dtype == other.dtype
            assert torch.equal(one, other)
        case dict():
            assert list(one) == list(other)
            for key in one:
                assert_equal(one[key], other[key])
        case list() | tuple():
            assert len(one) == len(other)
            for a, b in zip(one, other, strict=True):
                assert_equal(a, b)
        case _:
            assert one == other


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_state_comes_back_equal(tmp_path):
    state = some_state() | {"random": random.getstate(), "torch": torch.get_rng_state(), "nothing": {}, "none": ()}

    checkpoint.save(tmp_path / "new" / LAST, state)

    assert_equal(checkpoint.load(tmp_path / "new" / LAST), state)
    assert names(tmp_path / "new") == [LAST]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(3),
        torch.zeros(0, 4),
        torch.arange(6).view(2, 3).T,
        torch.tensor([1.5, float("nan")]).bfloat16().nan_to_num(),
        torch.tensor([True, False]),
        torch.arange(8, dtype=torch.uint8)[2:5],
        torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last),
    ],
    ids=["scalar", "empty", "transposed", "bfloat16", "bool", "slice", "channels-last"],
)
def test_tensors_keep_type_shape_and_strides(tensor, tmp_path):
    checkpoint.save(tmp_path / LAST, {"x": tensor})

    loaded = checkpoint.load(tmp_path / LAST)["x"]

    assert_equal(loaded, tensor)
    assert loaded.stride() == tensor.stride()


def test_modules_and_optimizers_come_back(tmp_path):
    def build():
        module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
        return module, torch.optim.AdamW(module.parameters(), lr=0.1)

    module, optimizer = build()
    module(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    checkpoint.save(tmp_path / LAST, {"module": module.state_dict(), "optimizer": optimizer.state_dict()})
    module_2, optimizer_2 = build()

    state = checkpoint.load(tmp_path / LAST)
    module_2.load_state_dict(state["module"])
    optimizer_2.load_state_dict(state["optimizer"])

    assert_equal(dict(module_2.state_dict()), dict(module.state_dict()))
    assert_equal(optimizer_2.state_dict(), optimizer.state_dict())


def test_tensors_leave_graph_and_attributes_behind(tmp_path):
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.owner = object()

    checkpoint.save(tmp_path / LAST, {"parameter": parameter, "result": parameter * 2, "dict": OrderedDict(a=1)})

    loaded = checkpoint.load(tmp_path / LAST)
    assert type(loaded["parameter"]) is torch.Tensor
    assert not loaded["result"].requires_grad
    assert type(loaded["dict"]) is dict


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {"b": [1, object()]}}, r"a\.b\[1\] is a builtins\.object"),
        ({"path": Path("x")}, r"path is a pathlib\.PosixPath"),
        ({"f": len}, "f is a builtins.builtin_function"),
        ({"lr": torch.tensor(1.0).numpy()}, r"lr is a numpy\.ndarray"),
        ({"lr": torch.tensor(1.0).double().numpy()[()]}, r"lr is a numpy\.float64"),
        ({"p": Point(1, 2)}, r"p is a .*\.Point"),
        ({"s": {1, 2}}, r"s is a builtins\.set"),
        ({"size": torch.ones(2).shape}, r"size is a torch\.Size"),
        ({"a": {(1, 2): 3}}, r"a has the key \(1, 2\)"),
    ],
    ids=["object", "path", "function", "array", "numpy-scalar", "namedtuple", "set", "size", "key"],
)
def test_anything_else_is_refused_by_name(state, message, tmp_path):
    with pytest.raises(UserError, match=message):
        checkpoint.save(tmp_path / LAST, state)

    assert names(tmp_path) == []


def test_file_is_a_plain_torch_file_and_a_sound_archive(tmp_path):
    checkpoint.save(tmp_path / LAST, some_state())

    assert_equal(torch.load(tmp_path / LAST, weights_only=True), some_state())
    assert_equal(torch.load(tmp_path / LAST, weights_only=True, mmap=True), some_state())
    with zipfile.ZipFile(tmp_path / LAST) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"sha256:")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / LAST
    checkpoint.save(path, {"x": torch.arange(4), "name": "small"})
    return path.read_bytes()


def refused(path, data):
    path.write_bytes(data)
    try:
        checkpoint.load(path)
    except UserError as error:
        return str(path) in str(error) and "truncated, altered" in str(error)
    return False


def places(size):
    """Every place in the records that end the archive, the checksum among them, and every fifth before."""
    return [*range(0, size - 250, 5), *range(size - 250, size)]


def test_truncation_is_found_wherever_it_is(small, tmp_path):
    accepted = [length for length in places(len(small)) if not refused(tmp_path / LAST, small[:length])]

    assert accepted == []
    assert not refused(tmp_path / LAST, small)


def test_every_prefix_of_a_file_under_20_kB_is_refused_in_favour_of_the_one_before(small, tmp_path):
    assert len(small) < 20_000
    for step in (1, 2):
        checkpoint.save(tmp_path / LAST, some_state(step))
    (tmp_path / LAST).write_bytes(small)
    taken = []
    for length in range(len(small) - 1, -1, -1):
        os.truncate(tmp_path / LAST, length)
        latest = checkpoint.load_latest(tmp_path)
        if latest is None or latest.path != tmp_path / PREVIOUS or latest.state["step"] != 1:
            taken.append(length)

    assert taken == []


def test_a_flipped_bit_is_found_wherever_it_is(small, tmp_path):
    accepted = []
    for byte in places(len(small)):
        altered = bytearray(small)
        altered[byte] ^= 1 << (byte * 5 % 8)
        if not refused(tmp_path / LAST, bytes(altered)):
            accepted.append(byte)

    assert accepted == []


def plain_torch_file():
    buffer = io.BytesIO()
    torch.save({"x": 1}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"\n",
        lambda data: data * 2,
        lambda data: b"\0" * len(data),
        lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
        lambda data: b"",
        lambda data: b"hello",
        lambda data: plain_torch_file(),
    ],
    ids=["longer", "twice", "zeros", "zeros-at-end", "empty", "text", "no-checksum"],
)
def test_what_is_no_checkpoint_is_refused(change, small, tmp_path):
    assert refused(tmp_path / LAST, change(small))


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    buffer = io.BytesIO()
    torch.save({"x": Evil()}, buffer)
    data = bytearray(buffer.getvalue())
    data[-2:] = checkpoint._COMMENT_SIZE.to_bytes(2, "little")
    (tmp_path / LAST).write_bytes(bytes(data) + checkpoint._seal(memoryview(data)))

    with pytest.raises(UserError, match="not a checkpoint that this version can load"):
        checkpoint.load(tmp_path / LAST)
    assert not (tmp_path / "evil").exists()


def test_saving_keeps_the_one_before(tmp_path):
    for step in range(1, 5):
        checkpoint.save(tmp_path / LAST, some_state(step))

    assert checkpoint.load(tmp_path / LAST)["step"] == 4
    assert checkpoint.load(tmp_path / PREVIOUS)["step"] == 3
    assert names(tmp_path) == [LAST, PREVIOUS]


def test_another_name_leaves_last_and_previous_alone(tmp_path):
    for step, name in enumerate([LAST, LAST, "best.pt", "best.pt"]):
        checkpoint.save(tmp_path / name, some_state(step))

    assert [checkpoint.load(tmp_path / name)["step"] for name in ("best.pt", LAST, PREVIOUS)] == [3, 1, 0]


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(path.read_bytes()[:-9]), Path.unlink], ids=["cut", "lost"]
)
def test_previous_stands_in_for_a_damaged_last(damage, tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path / LAST, some_state(step))
    damage(tmp_path / LAST)

    latest = checkpoint.load_latest(tmp_path)

    assert latest is not None
    assert (latest.state["step"], latest.path) == (1, tmp_path / PREVIOUS)
    assert latest.warning == f"{tmp_path / LAST} is missing or damaged: {tmp_path / PREVIOUS} is used in its place."


def test_latest_of_nothing_one_file_and_nothing_good(tmp_path):
    assert checkpoint.load_latest(tmp_path / "missing") is None
    assert checkpoint.load_latest(tmp_path) is None

    checkpoint.save(tmp_path / LAST, some_state(1))
    for where in (tmp_path, tmp_path / LAST):
        latest = checkpoint.load_latest(where)
        assert latest is not None
        assert (latest.state["step"], latest.path, latest.warning) == (1, tmp_path / LAST, None)

    (tmp_path / LAST).write_bytes(b"cut")
    with pytest.raises(UserError, match=r"last\.pt is not a complete vje_ppl checkpoint"):
        checkpoint.load_latest(tmp_path)
    (tmp_path / PREVIOUS).write_bytes(b"cut as well")
    with pytest.raises(UserError, match=r"Neither .*last\.pt nor .*previous\.pt"):
        checkpoint.load_latest(tmp_path)


def test_hard_links_are_not_needed(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    for step in (1, 2, 3):
        checkpoint.save(tmp_path / LAST, some_state(step))

    assert [checkpoint.load(tmp_path / name)["step"] for name in (LAST, PREVIOUS)] == [3, 2]
    assert names(tmp_path) == [LAST, PREVIOUS]


def test_places_that_cannot_hold_a_file_are_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder" / LAST).mkdir(parents=True)

    with pytest.raises(UserError, match=r"file/last\.pt could not be written"):
        checkpoint.save(tmp_path / "file" / LAST, some_state())
    with pytest.raises(UserError, match=r"folder/last\.pt could not be written"):
        checkpoint.save(tmp_path / "folder" / LAST, some_state())
    with pytest.raises(UserError, match=r"nowhere/last\.pt cannot be read: no such file"):
        checkpoint.load(tmp_path / "nowhere" / LAST)
    with pytest.raises(UserError, match="cannot be read: is a directory"):
        checkpoint.load(tmp_path)
    assert names(tmp_path / "folder") == [LAST]


@pytest.fixture(scope="module")
def trials():
    """What became of the processes that this file, run as a script, forks and kills; it imports torch but once."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", __file__]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("links", [True, False], ids=["links", "copies"])
@pytest.mark.parametrize("before", ["nothing", "one", "two", "last-damaged", "leftovers"])
def test_killed_before_any_change_to_the_folder_a_good_state_remains(before, links, trials):
    outcomes = trials["stepwise"][f"{before}-{links}"]

    assert len(outcomes) >= 4, "the writer changes the folder in fewer steps than it must"
    for number, outcome in enumerate(outcomes):
        wanted = {"nothing": [None, 3], "one": [2, 3], "two": [2, 3], "last-damaged": [1, 3], "leftovers": [2, 3]}
        assert outcome["step"] in wanted[before], f"killed before change {number}: {outcome}"
        assert outcome["whole"], f"killed before change {number}: {outcome}"
        assert set(outcome["after_next_save"]) <= {LAST, PREVIOUS}
    assert outcomes[-1]["step"] == 3, "the last trial is one that was left to finish"


def test_killed_at_any_time_the_last_state_saved_remains(trials):
    outcomes = trials["random"]

    assert len(outcomes) == 15
    for outcome in outcomes:
        assert outcome["acknowledged"] <= outcome["step"] <= outcome["acknowledged"] + 1, outcome
        assert outcome["whole"], outcome
        assert outcome["warning"] is None
    assert outcomes[-1]["step"] > 30, "too few saves for the kills to fall into one"


@pytest.mark.parametrize("trial", ["file_too_large", "disk_full", "read_only"])
def test_a_disk_that_takes_no_more_is_one_sentence_and_nothing_is_lost(trial, trials):
    outcome = trials[trial]
    if "unavailable" in outcome:
        pytest.skip(f"this system lets no process mount a small disk: {outcome['unavailable']}")

    reason = {"file_too_large": "file too large", "disk_full": "no space left", "read_only": "read-only file system"}
    assert f"{LAST} could not be written" in outcome["message"]
    assert reason[trial] in outcome["message"]
    assert outcome["message"].count(". ") == 0
    assert outcome["files"] == [LAST, PREVIOUS]
    assert outcome["steps"] == [2, 1]


def test_memory_stays_within_three_times_the_state(trials):
    # Saving: the file, which grows in memory by an eighth at a time, beside the state. Loading: the file and the state.
    # Half a state more would be a copy in the making; what allocator and libraries take does not grow with the state.
    assert 0.5 <= trials["memory"]["saving"] < 1.5
    assert 1.5 <= trials["memory"]["loading"] < 2.5


def in_child(work):
    """Runs `work` in a fork and returns what it returns, or None if it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(work()).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"a trial failed with status {status}"
    return json.loads(text) if status == 0 else None


def die_before(change):
    """Kills this process right before its n-th change to a file's name or content."""
    left = [change]

    def hook(event, arguments):
        writes = event == "open" and isinstance(arguments[1], str) and arguments[1][:1] in ("w", "x", "a")
        if writes or event in ("os.rename", "os.link", "os.remove", "os.mkdir"):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def seen(folder):
    latest = checkpoint.load_latest(folder)
    if latest is None:
        return {"step": None, "whole": True}
    state = latest.state
    return {
        "step": state["step"],
        "whole": bool((state["weights"] == state["step"]).all()),
        "warning": latest.warning,
    }


def prepare(folder, before):
    folder.mkdir()
    for step in {"nothing": [], "one": [2]}.get(before, [1, 2]):
        checkpoint.save(folder / LAST, some_state(step))
    if before == "last-damaged":
        (folder / LAST).write_bytes((folder / LAST).read_bytes()[:-1])
    if before == "leftovers":
        os.link(folder / LAST, folder / f".{LAST}.held")
        (folder / f".{LAST}.tmp").write_bytes(b"half")


def no_links(*_):
    raise OSError("no hard links here")


def stepwise(root, before, links):
    outcomes = []
    for change in range(1, 50):
        folder = root / f"{before}-{links}-{change}"
        prepare(folder, before)

        def work(change=change, folder=folder):
            if not links:
                os.link = no_links
            die_before(change)
            checkpoint.save(folder / LAST, some_state(3))
            return True

        finished = in_child(work)
        outcome = seen(folder)
        checkpoint.save(folder / LAST, some_state(4))
        outcomes.append(outcome | {"after_next_save": names(folder), "finished": finished})
        if finished:
            return outcomes
    raise AssertionError("the writer never finishes")


def at_random(folder):
    """Each child goes on from the state that the one killed before it left."""
    outcomes = []
    delays = random.Random(0)
    for _ in range(15):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            latest = checkpoint.load_latest(folder)
            step = latest.state["step"] if latest else 0
            while True:
                step += 1
                checkpoint.save(folder / LAST, some_state(step, size=200_000))
                os.write(writer, step.to_bytes(4, "little"))
        os.close(writer)
        first = os.read(reader, 4)
        time.sleep(delays.uniform(0.0, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reader, "rb") as pipe:
            acknowledged = (first + pipe.read())[-4:]
        outcomes.append(seen(folder) | {"acknowledged": int.from_bytes(acknowledged, "little")})
    return outcomes


def refused_save(folder):
    try:
        checkpoint.save(folder / LAST, some_state(3, size=300_000))
    except UserError as error:
        message = str(error)
    else:
        message = "saved"
    steps = [checkpoint.load(folder / name)["step"] for name in (LAST, PREVIOUS)]
    return {"message": message, "files": names(folder), "steps": steps}


def file_too_large(folder):
    prepare(folder, "two")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    return refused_save(folder)


def on_small_disk(folder, read_only):
    """A disk of one megabyte of its own, which needs no privilege where user namespaces are allowed."""
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(flags, options):
        if libc.mount(b"none", os.fsencode(folder), b"tmpfs", flags, options) != 0:
            raise OSError(ctypes.get_errno(), "mount")

    folder.mkdir()
    try:
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        mount(0, b"size=1m")
    except OSError as error:
        return {"unavailable": str(error)}
    prepare(folder / "checkpoints", "two")
    if read_only:
        mount(0x20 | 0x1, b"size=1m")  # MS_REMOUNT | MS_RDONLY
    return refused_save(folder / "checkpoints")


def memory(folder):
    """Peak memory beyond what is there before, as multiples of the state: what a second, larger state adds to it."""
    sizes = (32 * 2**20, 160 * 2**20)

    def peak(work):
        def measured():
            before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
            work()
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before

        return in_child(measured)

    peaks = []
    for size in sizes:
        state = {"weights": torch.ones(size // 4)}
        saving = peak(lambda state=state: checkpoint.save(folder / LAST, state))
        peaks.append((saving, peak(lambda: checkpoint.load(folder / LAST))))
    growth = [(large - small) / (sizes[1] - sizes[0]) for small, large in zip(*peaks, strict=True)]
    return dict(zip(("saving", "loading"), growth, strict=True))


def main():
    root = Path(tempfile.mkdtemp())
    try:
        report = {
            "stepwise": {
                f"{before}-{links}": stepwise(root, before, links)
                for before in ("nothing", "one", "two", "last-damaged", "leftovers")
                for links in (True, False)
            },
            "random": at_random(root / "random"),
            "file_too_large": in_child(lambda: file_too_large(root / "limited")),
            "disk_full": in_child(lambda: on_small_disk(root / "full", read_only=False)),
            "read_only": in_child(lambda: on_small_disk(root / "fixed", read_only=True)),
            "memory": memory(root / "memory"),
        }
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
