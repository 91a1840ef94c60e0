"""Work on images shared by processes: each takes whole batches in turn, and the first gets all results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, distributed

from vje_ppl.data.batches import Share

#: The images of a batch, (n,), and results by key: tensors with a row per image.
Part = tuple[Int64[Tensor, " n"], dict[Any, Tensor]]

#: How long others wait while the first process computes by itself.
_PATIENCE = timedelta(days=7)


class Shards:
    """The processes that evaluate one run.

    Batches are those of a single process, so results are the same to the last bit for any number of processes (on the
    same kind of processor, with as many threads). No batch is padded or computed twice. Results travel between CPUs, a
    batch of each process at a time.

    Args:
        rank: this process, from 0.
        world_size: number of processes; all of them create it at the same time.

    Attributes:
        is_first: whether this process gets the results.
    """

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self._rank, self._world_size = rank, world_size
        self._group: Any = distributed.new_group(backend="gloo", timeout=_PATIENCE) if world_size > 1 else None
        self.is_first = rank == 0

    def share(self, together: int = 1) -> Share:
        """Return this process's batches, `together` consecutive batches at a time."""
        return Share(self._rank, self._world_size, together)

    def gathered(self, parts: Iterable[Part]) -> Iterator[Part]:
        """Gather the parts of all processes; every process has to iterate to the end.

        Args:
            parts: this process's share, in order; batches may be missing.

        Yields:
            In the first process all parts, on the CPU and in the order of a single process; in the others nothing.
        """
        if self._group is None:
            yield from ((index.cpu(), _on_cpu(values)) for index, values in parts)
            return
        own = iter(parts)
        ahead: list[list[Part]] = [[] for _ in range(self._world_size)]  # by process, in the first one
        open_ = [True] * self._world_size
        while any(open_):
            part = next(own, None)
            sent = None if part is None else (part[0].cpu(), _on_cpu(part[1]))
            distributed.all_gather_object(open_, part is not None, group=self._group)
            received: list[Any] = [None] * self._world_size
            distributed.gather_object(sent, received if self.is_first else None, dst=0, group=self._group)
            for queue, one in zip(ahead, received, strict=True):
                queue.extend([] if one is None else [one])
            yield from _in_order(ahead, open_)

    def agree(self, decision: bool) -> bool:
        """Return the decision of the first process; the others may pass anything."""
        return bool(self.everywhere({"decision": torch.tensor(int(decision))})["decision"])

    def everywhere(self, tensors: dict[str, Tensor] | None) -> dict[str, Tensor]:
        """Give the first process's tensors to all processes; the others may pass anything."""
        if self._group is None:
            assert tensors is not None
            return tensors
        like = [None if tensors is None else {name: (one.shape, one.dtype) for name, one in tensors.items()}]
        distributed.broadcast_object_list(like, src=0, group=self._group)
        assert like[0] is not None
        found = {}
        for name, (shape, dtype) in like[0].items():
            found[name] = tensors[name] if self.is_first and tensors is not None else torch.empty(shape, dtype=dtype)
            distributed.broadcast(found[name], src=0, group=self._group)
        return found


def _in_order(ahead: list[list[Part]], open_: list[bool]) -> Iterator[Part]:
    """Yield the earliest part while no process can still have an earlier part."""
    while any(ahead) and all(queue or not more for queue, more in zip(ahead, open_, strict=True)):
        earliest = min((queue for queue in ahead if queue), key=lambda queue: int(queue[0][0][0]))
        yield earliest.pop(0)


def _on_cpu(values: dict[Any, Tensor]) -> dict[Any, Tensor]:
    return {key: value.cpu() for key, value in values.items()}


#: A single process.
WHOLE = Shards()
