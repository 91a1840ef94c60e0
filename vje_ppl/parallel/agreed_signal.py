"""Stopping together: a signal may reach one process of several, or reach them between different steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed


class AgreedSignal:
    """Called once a step by every process with the signal that it has noted, if any; gives all of them the same answer.

    The answer is the largest number that any of them gave in its call before this one, so that processes stop after
    the same step and none is left waiting. It travels between CPUs (gloo), while the step is taken: neither the device
    nor another process is waited for, unless that one is more than a step behind. A single process gets its own back.

    Args:
        processes: how many there are; all of them create it at the same time.
    """

    def __init__(self, processes: int) -> None:
        self._group: Any = distributed.new_group(backend="gloo") if processes > 1 else None
        self._on_the_way: tuple[Any, torch.Tensor] | None = None

    def __call__(self, own: int | None) -> int | None:
        """The signal that all of them know of; None while there is none."""
        if self._group is None:
            return own
        agreed = self._arrived()
        number = torch.tensor([own or 0])
        work = distributed.all_reduce(number, distributed.ReduceOp.MAX, self._group, async_op=True)
        self._on_the_way = work, number
        return agreed

    def _arrived(self) -> int | None:
        if self._on_the_way is None:
            return None
        work, number = self._on_the_way
        work.wait()
        return int(number) or None
