"""One log a run: it goes on where the run goes on, carries its name, and holds its hyperparameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from lightning_fabric.loggers.logger import Logger
from omegaconf import OmegaConf

from vje_ppl.train.run_log import RunLog, named

EventAccumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator

HYPERPARAMETERS = {"seed": 3, "optimizer": {"lr": 0.5}, "data": {"root": None}}


class Told(Logger):
    """A logger that remembers, as W&B's does, what cannot be withdrawn."""

    logs: ClassVar[dict[str, list[Any]]] = {}
    name = version = property(lambda self: "told")

    def __init__(self, name: str, id: str) -> None:
        self.title, self.told = name, self.logs.setdefault(id, [])

    def log_metrics(self, metrics, step=None):
        self.told.append((step, metrics))

    def log_hyperparams(self, params):
        self.told.append((self.title, params))


def open_log(folder: Path, logger: str, name: str = "sweep/a", **options: Any) -> RunLog:
    targets = {"tensorboard": "lightning_fabric.loggers.TensorBoardLogger", "told": f"{__name__}.Told"}
    own = {"root_dir": str(folder), "version": "${run.name}"} if logger == "tensorboard" else {}
    node = {"_target_": targets[logger], "name": "tensorboard" if own else "${run.name}", **own, **options}
    config = OmegaConf.create({"run": {"name": None}, "logger": node})
    return RunLog(named(config, name), folder, HYPERPARAMETERS)


def tell(log: RunLog, after: int | None, epochs: range, anew: bool = False, loss: float = 1.0) -> None:
    """Two steps an epoch, and a point at each."""
    log.start(after, anew)
    if after is None:
        log.row({"epoch": 0, "step": 0})
    for epoch in epochs:
        for step in (2 * epoch - 1, 2 * epoch):
            log.point(step, {"loss": loss * step, "bad": float("nan")})
        log.row({"epoch": epoch, "step": 2 * epoch, "loss": loss * epoch, "note": "no number"})
    log.close()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {key: [(one.step, one.value) for one in events.Scalars(key)] for key in events.Tags()["scalars"]}


def test_tensorboard_goes_on_in_the_log_of_the_run(tmp_path):
    tell(open_log(tmp_path, "tensorboard"), None, range(1, 4))
    tell(open_log(tmp_path, "tensorboard"), 2, range(2, 5))  # killed after epoch 3, the last checkpoint of epoch 1
    (folder,) = {path.parent for path in tmp_path.rglob("events*")}
    assert folder == tmp_path / "tensorboard" / "sweep" / "a"
    seen = scalars(folder)
    assert seen["loss"] == [(2, 1.0), (4, 2.0), (6, 3.0), (8, 4.0)]
    assert seen["step/loss"] == [(step, float(step)) for step in range(1, 9)]
    assert set(seen) == {"epoch", "step", "loss", "step/loss"}, "neither a placeholder nor what is not finite"


def test_tensorboard_has_the_hyperparameters(tmp_path):
    tell(open_log(tmp_path, "tensorboard"), None, range(1, 3))
    events = EventAccumulator(str(tmp_path / "tensorboard" / "sweep" / "a"))
    events.Reload()
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert all(key in content for key in (b"seed", b"optimizer/lr", b"data/root"))


def test_a_log_of_a_run_that_starts_anew_is_moved_aside(tmp_path):
    tell(open_log(tmp_path, "tensorboard"), None, range(1, 3))
    tell(open_log(tmp_path, "tensorboard"), None, range(1, 2), anew=True, loss=5.0)
    logs = tmp_path / "tensorboard" / "sweep"
    assert scalars(logs / "a")["loss"] == [(2, 5.0)]
    assert scalars(logs / "a.1")["loss"] == [(2, 1.0), (4, 2.0)]


def test_what_cannot_be_withdrawn_is_told_once(tmp_path):
    Told.logs.clear()
    tell(open_log(tmp_path, "told"), None, range(1, 4))
    tell(open_log(tmp_path, "told"), 2, range(2, 5))
    ((_, told),) = Told.logs.items()
    assert [one for one in told if one[0] == "sweep/a"] == [("sweep/a", HYPERPARAMETERS)] * 2, "once a process"
    rows = [(step, numbers["loss"]) for step, numbers in told if numbers.get("epoch")]
    assert rows == [(2, 1.0), (4, 2.0), (6, 3.0), (8, 4.0)]
    assert [step for step, numbers in told if "step/loss" in numbers] == list(range(1, 9))


def test_runs_have_logs_of_their_own(tmp_path):
    Told.logs.clear()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        tell(open_log(tmp_path / name, "told", name), None, range(1, 2))
    assert len(Told.logs) == 2
    assert {told[0][0] for told in Told.logs.values()} == {"a", "b"}
