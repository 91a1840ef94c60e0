"""The log of a run for TensorBoard, W&B or another logger: one log per run, continued after an interruption."""

from __future__ import annotations

import itertools
import json
import math
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vje_ppl.runs.files import write_atomically
from vje_ppl.settings.build import build

#: File in the run folder: the id of its W&B log, and the last step written.
LOG = "log.json"

#: The order of the two kinds of entries for a step.
_POINT, _ROW = 0, 1


class RunLog:
    """The log of a run; only the first process writes it.

    Args:
        node: the configuration's `logger`, in a configuration whose `run.name` is the run's name, also the default
            name.
        folder: the run folder.
        hyperparameters: the resolved configuration.
    """

    def __init__(self, node: DictConfig, folder: Path, hyperparameters: Mapping[str, Any]) -> None:
        self._file, self._hyperparameters = folder / LOG, dict(hyperparameters)
        stored = _read(self._file)
        self._id, self._reached = stored.get("id") or secrets.token_hex(4), tuple(stored.get("reached", (-1, _POINT)))
        self._logger: Any = build(node, "logger", id=self._id) if "_target_" in node else None
        self._told = False

    @property
    def is_kept(self) -> bool:
        """Whether there is a logger."""
        return self._logger is not None

    @property
    def _is_tensorboard(self) -> bool:
        """Whether the log is TensorBoard's, whichever of Lightning's packages the logger comes from."""
        return any(kind.__name__ == "TensorBoardLogger" for kind in type(self._logger).__mro__)

    def start(self, step: int | None, anew: bool) -> None:
        """Set the step at which the log continues.

        Args:
            step: the step that the run resumes after; None at its start. Entries of later steps by an earlier process
                are withdrawn where the logger can do that (TensorBoard), and otherwise not repeated.
            anew: whether an earlier run of this name was moved aside; its log is, too.
        """
        if self._is_tensorboard:
            if anew:
                _move_aside(Path(self._logger.log_dir))
            self._logger._kwargs["purge_step"] = 0 if step is None else step + 1  # an argument that is known too late

    def point(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log a step's values, except NaN and infinities."""
        self._tell((step, _POINT), {f"step/{key}": value for key, value in numbers.items() if math.isfinite(value)})

    def row(self, row: Mapping[str, Any]) -> None:
        """Log an epoch's values: a row of `metrics.csv`."""
        numbers = {key: value for key, value in row.items() if isinstance(value, int | float)}
        if self._is_tensorboard and row["epoch"] == 1:
            # Once, with the numbers to show beside them, which this logs as well.
            self._logger.log_hyperparams(self._hyperparameters, metrics=numbers, step=row["step"])
            self._told = True
        else:
            self._tell((row["step"], _ROW), numbers)

    def _tell(self, place: tuple[int, int], numbers: dict[str, float]) -> None:
        if self._is_tensorboard:
            self._logger.log_metrics(numbers, step=place[0])
            self._told = True
        elif self._logger is not None and place > self._reached:
            if not self._told:
                self._logger.log_hyperparams(self._hyperparameters)
            self._logger.log_metrics(numbers, step=place[0])
            self._reached = place
            write_atomically(self._file, f"{json.dumps({'id': self._id, 'reached': place})}\n".encode())
            self._told = True

    def save(self) -> None:
        """Write all entries so far; call it before a checkpoint, after which the run does not log them again."""
        if self._logger is not None and self._told:
            self._logger.save()

    def close(self) -> None:
        """Write the remaining entries; the next run of a sweep has its own log."""
        if self._logger is None or not self._told:
            return
        self._logger.finalize("success")
        finish = getattr(getattr(self._logger, "experiment", None), "finish", None)
        if callable(finish):  # W&B would continue this log
            finish()


def named(config: DictConfig, name: str) -> DictConfig:
    """Return the configuration's `logger` with `${run.name}` resolved, including the default name."""
    config = config.copy()
    OmegaConf.update(config, "run.name", name)
    return config.logger


def _read(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet
        return {}
    return stored if isinstance(stored, dict) else {}


def _move_aside(folder: Path) -> None:
    if folder.is_dir():
        numbers = (folder.with_name(f"{folder.name}.{number}") for number in itertools.count(1))
        folder.rename(next(target for target in numbers if not target.exists()))
