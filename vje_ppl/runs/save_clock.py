"""How often a checkpoint is worth its writing."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

#: A checkpoint is due when this many times as long as its writing took has gone by.
PATIENCE = 20


class SaveClock:
    """Says when a checkpoint is due, so that writing takes at most one part in `PATIENCE` + 1 of a long run.

    A run of short epochs and a large network would otherwise write more than it trains. A run that is killed loses
    what it did in `PATIENCE` times the last writing, and the epoch it was in. Used as a context manager around every
    writing.

    Args:
        now: seconds of a clock that never goes back.
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = self._now()
