"""The folder of a run: its files, and the lock that keeps other runs out."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from omegaconf import OmegaConf

from vje_ppl.errors import UserError
from vje_ppl.runs.files import csv_bytes, explain, json_lines, open_no_link, write_atomically

LOCK = ".lock"


class RunFolder:
    """The files of one run, under `root/name`; creates a missing folder.

    Attributes:
        path: the folder.
        config: `config.yaml`, the resolved configuration.
        checkpoints: `checkpoints/`, where training keeps its state.
        metrics_csv: `metrics.csv`, a row per epoch.
        metrics_json: `metrics.json`, the final figures.
        curves: `curves.png`.

    Args:
        root: the folder that holds all runs.
        name: the run's own folder below it; may have several parts (`sweep/a`), none of them `..`.
        create: whether to create the folder and test that it is writable; true in only one of several processes.

    Raises:
        UserError: if the name leaves `root`, a file is in the way, or nothing can be written there.
    """

    def __init__(self, root: str | os.PathLike[str], name: str, create: bool = True) -> None:
        parts = Path(name).parts
        if not parts or ".." in parts or Path(name).is_absolute():
            raise UserError(f"run.name must be the name of a folder below run.root, got {name!r}.")
        self.path = Path(root) / name
        self.config = self.path / "config.yaml"
        self.checkpoints = self.path / "checkpoints"
        self.metrics_csv = self.path / "metrics.csv"
        self.metrics_json = self.path / "metrics.json"
        self.curves = self.path / "curves.png"
        self._lock: TextIO | None = None
        if create:
            self._create()

    def _create(self) -> None:
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            for folder in (self.path, self.checkpoints):
                # Permission bits do not cover everything (a read-only disk, a quota): try to write.
                with tempfile.TemporaryFile(dir=folder) as probe:
                    probe.write(b"\n")
        except OSError as error:
            raise UserError(f"The run folder {self.path} cannot be used: {explain(error)}.") from error

    def lock(self) -> None:
        """Keep every other process out of this run folder until `unlock` or the end of this process.

        The kernel drops the lock when the process ends. Forked processes do not hold it, so a data worker that
        outlives a killed run does not block the next run.

        Raises:
            UserError: if another run holds it.
        """
        if self._lock is None:
            self._lock = self._take_lock()

    def unlock(self) -> None:
        """Let other processes in; the runs of a sweep unlock one after the other."""
        if self._lock is not None:
            _drop_lock(self._lock)
            self._lock = None

    def _take_lock(self) -> TextIO:
        path = self.path / LOCK
        while True:
            try:
                file = open_no_link(path, "a+")
            except OSError as error:
                raise UserError(f"The run folder {self.path} cannot be locked: {explain(error)}.") from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                holder = file.read().strip() or "another process"
                file.close()
                raise UserError(
                    f"The run folder {self.path} is in use by {holder}: wait for it, stop it, or give another run.name."
                ) from error
            except OSError as error:
                file.close()
                raise UserError(f"The run folder {self.path} cannot be locked: {explain(error)}.") from error
            # Between opening and locking, the holder may have moved the folder aside with the file just opened.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    break
            file.close()
            self._create()
        _LOCKS.add(file)
        with suppress(OSError):  # a full disk may refuse the holder's name, which is only informative
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        return file

    def move_aside(self) -> Path | None:
        """Rename the folder to `<name>.1`, or the next free number, and put an empty folder in its place.

        Returns:
            The new place of the earlier run; None if the folder was empty.

        Raises:
            UserError: if another run is using the folder, or it cannot be renamed.
        """
        locked = self._lock is not None
        self.lock()
        try:
            if not self._holds_something():
                return None
            moved = self._rename()
            self._create()
            old, self._lock = self._lock, None
            self.lock()
            if old is not None:
                _drop_lock(old)
            return moved
        finally:
            if not locked:
                self.unlock()

    def _holds_something(self) -> bool:
        own = {self.path / LOCK, self.checkpoints}
        return any(entry not in own for entry in self.path.iterdir()) or any(self.checkpoints.iterdir())

    def _rename(self) -> Path:
        for number in itertools.count(1):
            target = self.path.with_name(f"{self.path.name}.{number}")
            if target.exists():
                continue
            try:
                return self.path.rename(target)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    continue
                raise UserError(f"The run folder {self.path} cannot be moved aside: {explain(error)}.") from error
        raise AssertionError("counting has no end")

    def write_config(self, resolved: Mapping[str, Any]) -> None:
        """Write the resolved configuration to `config.yaml`.

        Args:
            resolved: plain nested containers, without interpolations.

        Raises:
            UserError: if it cannot be written.
        """
        write_atomically(self.config, OmegaConf.to_yaml(OmegaConf.create(dict(resolved))).encode())

    def write_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rewrite `metrics.csv` from the whole history.

        Args:
            rows: a mapping per epoch; the columns are all their keys, in order of first appearance. Missing values and
                None are left empty.

        Raises:
            UserError: if it cannot be written.
        """
        write_atomically(self.metrics_csv, csv_bytes(rows))

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write the final figures to `metrics.json`; infinities and NaN become null.

        Raises:
            UserError: if it cannot be written.
        """
        write_atomically(self.metrics_json, json_lines(metrics))


def read_config(path: Path) -> dict[str, Any] | None:
    """Read a configuration that `RunFolder.write_config` wrote; None if there is no file.

    Interpolations in a file from elsewhere stay text.

    Raises:
        UserError: if the file cannot be read, or is not YAML with a mapping at its top.
    """
    try:
        config = OmegaConf.to_container(OmegaConf.create(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except Exception as error:  # YAML and OmegaConf have many classes of errors
        raise UserError(f"{path} cannot be read as a configuration ({type(error).__name__}).") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} must hold a mapping of keys to values, got a {type(config).__name__}.")
    return {str(key): value for key, value in config.items()}


_LOCKS: set[TextIO] = set()  # held by this process


def _drop_lock(file: TextIO) -> None:
    _LOCKS.discard(file)
    file.close()


def _drop_locks_in_child() -> None:
    # A lock belongs to the open file, which a fork shares: a worker that outlives its parent would keep the lock.
    while _LOCKS:
        _LOCKS.pop().close()


os.register_at_fork(after_in_child=_drop_locks_in_child)
