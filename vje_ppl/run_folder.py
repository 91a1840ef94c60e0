"""The folder of a run: where its files lie, how they are written, and what names it.

Every file is written beside its final name and moved there whole, so that a reader, or a process killed while it
writes, never leaves half a file behind.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import io
import itertools
import json
import math
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from omegaconf import OmegaConf

from vje_ppl.errors import UserError

# Keys that say where and on what a run happens, not what comes out of it.
WITHOUT_EFFECT = frozenset(
    {
        "run",
        "resume",
        "debug",
        "logger",
        "data.root",
        "data.download",
        "data.workers",
        "trainer.device",
        "trainer.devices",
        "trainer.num_nodes",
        "trainer.accumulate",
        "trainer.progress",
        "trainer.checkpoint_every",
    }
)

LOCK = ".lock"


class RunFolder:
    """The files of one run, under `root/name`. Creates the folder where it is missing.

    Attributes:
        path: The folder.
        config: `config.yaml`, the resolved configuration.
        checkpoints: `checkpoints/`, where training keeps its state.
        metrics_csv: `metrics.csv`, a row an epoch.
        metrics_json: `metrics.json`, the final figures.
        curves: `curves.png`.

    Args:
        root: The folder that holds all runs.
        name: The run's own folder below it; may have several parts (`sweep/a`), none of them `..`.

    Raises:
        UserError: If the name leaves `root`, a file is in the way, or nothing can be written there.
    """

    def __init__(self, root: str | os.PathLike[str], name: str) -> None:
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
        self._create()

    def _create(self) -> None:
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            for folder in (self.path, self.checkpoints):
                # The permission bits are not the last word (a read-only disk, a quota): write, and see.
                with tempfile.TemporaryFile(dir=folder) as probe:
                    probe.write(b"\n")
        except OSError as error:
            raise UserError(f"The run folder {self.path} cannot be used: {explain(error)}.") from error

    def lock(self) -> None:
        """Keeps every other process out of this run folder until `unlock` or the end of this process.

        The kernel drops the lock with the process, however it ends. Processes forked from this one do not hold it,
        so that a data worker which outlives a killed run does not keep the next one waiting.

        Raises:
            UserError: If another run holds it.
        """
        if self._lock is None:
            self._lock = self._take_lock()

    def unlock(self) -> None:
        """Lets other processes in; several runs of one process (a sweep) unlock one after the other."""
        if self._lock is not None:
            _drop_lock(self._lock)
            self._lock = None

    def _take_lock(self) -> TextIO:
        path = self.path / LOCK
        while True:
            try:
                file = path.open("a+", encoding="utf-8")
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
        with suppress(OSError):  # who holds it is a courtesy, which a full disk may refuse
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        return file

    def move_aside(self) -> Path | None:
        """Renames the folder to `<name>.1`, or the next free number, and puts an empty one in its place.

        Returns:
            Where the earlier run now lies; None if the folder held nothing.

        Raises:
            UserError: If another run is using the folder, or it cannot be renamed.
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
        """Writes the resolved configuration to `config.yaml`.

        Args:
            resolved: Plain nested containers, without interpolations.

        Raises:
            UserError: If it cannot be written.
        """
        write_atomically(self.config, OmegaConf.to_yaml(OmegaConf.create(dict(resolved))).encode())

    def write_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rewrites `metrics.csv` from the whole history.

        Args:
            rows: A mapping an epoch; the columns are all their keys, in order of first appearance. What a row lacks,
                or holds as None, is left empty.

        Raises:
            UserError: If it cannot be written.
        """
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.metrics_csv, text.getvalue().encode())

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Writes the final figures to `metrics.json`; infinities and NaN, which JSON lacks, become null.

        Raises:
            UserError: If it cannot be written.
        """
        text = json.dumps(_finite(metrics), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(self.metrics_json, f"{text}\n".encode())


def read_config(path: Path) -> dict[str, Any] | None:
    """The configuration that `RunFolder.write_config` wrote to this file; None if there is none.

    Interpolations in a file of other origin stay the text that they are.

    Raises:
        UserError: If the file cannot be read, or is not YAML with a mapping at its top.
    """
    try:
        config = OmegaConf.to_container(OmegaConf.create(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except Exception as error:  # Each YAML fault has its own class, and OmegaConf adds others
        raise UserError(f"{path} cannot be read as a configuration ({type(error).__name__}).") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} must hold a mapping of keys to values, got a {type(config).__name__}.")
    return {str(key): value for key, value in config.items()}


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Writes a file so that, at any moment, `path` holds either what it held before or all of `data`.

    One process at a time may write a given path.

    Raises:
        UserError: If it cannot be written; what was there before is untouched and no temporary file is left.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        try:
            temporary.unlink(missing_ok=True)  # of a process killed here
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path} could not be written: {explain(error)}.") from error


def explain(error: OSError) -> str:
    """What is wrong with a place for files, and what to do, as the end of a sentence."""
    fault = (error.strerror or str(error)).lower()
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return f"{fault}; free some space there or set run.root to a folder on another disk"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{fault}; make it writable or set run.root to a folder that is"
        case errno.EEXIST | errno.ENOTDIR:
            return f"a file is in the way ({_in_the_way(error)}); move it or set run.root or run.name to another folder"
        case _:
            return f"{fault}; set run.root to another folder if this lasts"


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder, as after a rename, have reached the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks have no such thing
            raise
    finally:
        os.close(descriptor)


def config_digest(resolved: Mapping[str, Any]) -> str:
    """Eight hexadecimal characters of SHA-256 that name a configuration by what it computes.

    Devices, paths and other keys in `WITHOUT_EFFECT` do not count, nor does the order of keys.
    """
    return hashlib.sha256(canonical_json(with_effect(resolved)).encode()).hexdigest()[:8]


def default_name(resolved: Mapping[str, Any], name: str) -> str:
    """The default `run.name`: a readable part (the experiment, or else the data set) and the digest."""
    return f"{name.replace('/', '-')}-{config_digest(resolved)}"


def config_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What would change the result, a line each: `optimizer.lr: 0.001 -> 0.003`; sorted by key.

    A key that one side lacks is `(absent)` there.
    """
    before, after = dict(leaves(with_effect(old))), dict(leaves(with_effect(new)))
    lines = []
    for key in sorted(before.keys() | after.keys()):
        was, is_now = (_shown(side[key]) if key in side else "(absent)" for side in (before, after))
        if key not in before or key not in after or canonical_json(before[key]) != canonical_json(after[key]):
            lines.append(f"{key}: {was} -> {is_now}")
    return lines


def with_effect(resolved: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The configuration without the keys in `WITHOUT_EFFECT`."""
    reduced = {}
    for key, value in resolved.items():
        full = f"{prefix}{key}"
        if full in WITHOUT_EFFECT:
            continue
        reduced[str(key)] = with_effect(value, f"{full}.") if isinstance(value, Mapping) else value
    return reduced


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested configuration; lists and empty mappings are values."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def canonical_json(value: Any) -> str:
    """Text that is the same for configurations that compute the same, whatever the order and spelling of keys."""
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"))


def _canonical(value: Any) -> Any:
    """Makes 1 and 1.0 the same, which are the same to who types them."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _in_the_way(error: OSError) -> Path:
    path = Path(error.filename or "")
    return next((part for part in (path, *path.parents) if part.exists() and not part.is_dir()), path)


_LOCKS: set[TextIO] = set()  # held by this process


def _drop_lock(file: TextIO) -> None:
    _LOCKS.discard(file)
    file.close()


def _drop_locks_in_child() -> None:
    # A lock belongs to the open file, which a fork shares: a worker that outlives its parent would go on holding it.
    while _LOCKS:
        _LOCKS.pop().close()


os.register_at_fork(after_in_child=_drop_locks_in_child)
