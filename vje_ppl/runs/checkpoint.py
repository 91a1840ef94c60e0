"""Checkpoints: `torch.load(path, weights_only=True)` files with a checksum.

`torch.save` writes a zip archive, which may end in a comment. The comment of a checkpoint is the SHA-256 of every byte
before it, including the comment's length, so that any altered bit or missing end is noticed.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vje_ppl.errors import UserError
from vje_ppl.runs.files import explain, sync_folder, write_atomically

LAST = "last.pt"
PREVIOUS = "previous.pt"

_SCALARS = (str, int, float, bool, type(None))
_END_OF_ARCHIVE = b"PK\x05\x06"  # signature of the zip's last record: 22 bytes, of which the last two, then a comment
_END_SIZE = 22
_PREFIX = b"sha256:"
_COMMENT_SIZE = len(_PREFIX) + 64


@dataclass(frozen=True)
class Latest:
    """The newest good checkpoint of a folder.

    Attributes:
        state: what was saved.
        path: the file it came from.
        warning: a sentence to print if the last saved checkpoint is damaged and this is an earlier one; else None.
    """

    state: dict[Any, Any]
    path: Path
    warning: str | None


def save(path: str | os.PathLike[str], state: dict[Any, Any]) -> None:
    """Save a state atomically: once the folder holds a good checkpoint, it always does, even after a kill.

    The new file gets its name only when it is complete and on the disk. If that name is `last.pt`, the old file
    becomes `previous.pt`. Only one process at a time may save into a folder.

    Args:
        path: where to; usually `<run folder>/checkpoints/last.pt`. Its folder is created if missing.
        state: a dict of tensors, dicts, lists, tuples, strings, numbers, booleans and None, nested as you like.
            Parameters come back as tensors, ordered dicts as dicts.

    Raises:
        UserError: if the state holds anything else (the message names the key), or the file cannot be written (the
            earlier file is untouched).
    """
    path = Path(path)
    data = _sealed(_plain(state, ""))
    held = path.with_name(f".{path.name}.held")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held.unlink(missing_ok=True)  # left by a killed process
        keep = path.name == LAST and path.exists()
        if keep:
            _link(path, held)
        # The new file first: if the present one is damaged, `previous.pt` is still good.
        write_atomically(path, data)
        if keep:
            os.replace(held, path.with_name(PREVIOUS))
            sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path} could not be written: {explain(error)}.") from error
    finally:
        with suppress(OSError):
            held.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """Load what `save` saved, with every tensor on the CPU; runs no code from the file.

    Raises:
        UserError: if there is no such file, or it is truncated, altered, or not a vje_ppl checkpoint.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"The checkpoint {path} cannot be read: {reason}.") from error
    if not _is_whole(data):
        raise UserError(
            f"{path} is not a complete vje_ppl checkpoint: it is truncated, altered, or another kind of file; resume "
            f"from another checkpoint, or start again with resume=never."
        )
    try:
        # Load the verified bytes: the file itself may have been replaced.
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{path} is not a checkpoint that this version can load: {first}") from error
    if not isinstance(state, dict):
        raise UserError(f"{path} is not a vje_ppl checkpoint: expected a dict, got a {type(state).__name__}.")
    return state


def load_latest(folder: str | os.PathLike[str]) -> Latest | None:
    """Load `last.pt`, or `previous.pt` if that is damaged.

    Args:
        folder: the run's folder of checkpoints, which need not exist, or a checkpoint file.

    Returns:
        The state and where it came from; None if the folder holds no checkpoint at all.

    Raises:
        UserError: if there are checkpoints but all are damaged.
    """
    if Path(folder).is_file():
        return Latest(load(folder), Path(folder), None)
    last, previous = (Path(folder) / name for name in (LAST, PREVIOUS))
    present = [path for path in (last, previous) if path.exists()]
    for path in present:
        try:
            state = load(path)
        except UserError:
            if len(present) == 1:
                raise
            continue
        warning = None if path == last else f"{last} is missing or damaged: {previous} is used in its place."
        return Latest(state, path, warning)
    if present:
        raise UserError(f"Neither {last} nor {previous} is a complete checkpoint; start again with resume=never.")
    return None


def _plain(value: Any, name: str) -> Any:
    """Rebuild the containers, with only the values of each tensor: no graph, hooks or attributes."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind in (Tensor, nn.Parameter):
        return value.detach()
    if kind in (list, tuple):
        return kind(_plain(item, f"{name}[{index}]") for index, item in enumerate(value))
    if kind in (dict, OrderedDict):
        return {_key(key, name): _plain(item, f"{name}.{key}" if name else str(key)) for key, item in value.items()}
    raise UserError(
        f"A checkpoint holds tensors and plain containers only, but {name} is a {kind.__module__}.{kind.__qualname__}: "
        "save a tensor, number or string that it can be rebuilt from."
    )


def _key(key: Any, name: str) -> Any:
    if type(key) not in _SCALARS:
        raise UserError(f"Keys in a checkpoint must be strings or numbers, but {name or 'it'} has the key {key!r}.")
    return key


def _sealed(state: dict[Any, Any]) -> memoryview:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    start = buffer.tell() - _END_SIZE
    with buffer.getbuffer() as data:
        if data[start : start + 4] != _END_OF_ARCHIVE:
            raise RuntimeError("torch.save no longer ends in a zip record without a comment: no place for a checksum.")
        data[-2:] = _COMMENT_SIZE.to_bytes(2, "little")
        seal = _seal(data)
    buffer.write(seal)
    return buffer.getbuffer()


def _is_whole(data: bytes) -> bool:
    end = len(data) - _COMMENT_SIZE
    return end > 0 and data[end:] == _seal(memoryview(data)[:end])


def _seal(data: memoryview) -> bytes:
    return _PREFIX + hashlib.sha256(data).hexdigest().encode()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
        with target.open("rb") as copy:
            os.fsync(copy.fileno())


#: A checkpoint is due after this many times the duration of the last write.
PATIENCE = 20


class CheckpointInterval:
    """Decides when a checkpoint is due, so that writing takes at most a share of 1 / (`PATIENCE` + 1) of a long run.

    A run with short epochs and a large network would otherwise spend more time on writing than on training. A run that
    is killed loses `PATIENCE` times the time of the last write, and its unfinished epoch. Enter it as a context manager
    around every write.

    Args:
        now: a clock that never goes back, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began = self._ended = now()

    @property
    def due(self) -> bool:
        """Whether it is time to write; always before the first writing."""
        return self._now() - self._ended >= PATIENCE * (self._ended - self._began)

    def __enter__(self) -> None:
        self._began = self._now()

    def __exit__(self, *error: object) -> None:
        self._ended = self._now()
