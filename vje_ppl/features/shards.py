"""Work on images that several processes share: each takes whole batches in turn, and the first gets all results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, distributed

from vje_ppl.data.batches import Share

#: Which images a batch holds, (n,), and what was computed of them: tensors with a row for each of them, by some key.
Part = tuple[Int64[Tensor, " n"], dict[Any, Tensor]]

#: For the others, while the first process computes what it does not share.
_PATIENCE = timedelta(days=7)


class Shards:
    """The processes that evaluate one run, or the only one.

    Batches are those that a single process would make, so a number computed of an image is the same to the last bit,
    whatever the number of processes (on the same kind of processor, with as many threads). None is padded and none is
    computed twice. Results travel between CPUs, a batch of each process at a time.

    Args:
        rank: this process, from 0.
        world_size: number of processes; all of them create it at the same time.

    Attributes:
        is_first: whether this is the process that gets the results.
    """

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self._rank, self._world_size = rank, world_size
        self._group: Any = distributed.new_group(backend="gloo", timeout=_PATIENCE) if world_size > 1 else None
        self.is_first = rank == 0

    def share(self, together: int = 1) -> Share:
        """The batches that are this process's, `together` consecutive ones at a time."""
        return Share(self._rank, self._world_size, together)

    def gathered(self, parts: Iterable[Part]) -> Iterator[Part]:
        """Exhausts the parts that every process has of a whole; all processes have to go through it to the end.

        Args:
            parts: of this process's share of the batches, in order; batches may be missing.

        Yields:
            In the first process the parts of all of them, on the CPU and in order of their images, as a single process
            would have had them; in the others nothing.
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

    def everywhere(self, tensors: dict[str, Tensor] | None) -> dict[str, Tensor]:
        """Gives the first process's tensors to all of them; the others may call it with anything."""
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
    """Takes the earliest part as long as no process can still have an earlier one."""
    while any(ahead) and all(queue or not more for queue, more in zip(ahead, open_, strict=True)):
        earliest = min((queue for queue in ahead if queue), key=lambda queue: int(queue[0][0][0]))
        yield earliest.pop(0)


def _on_cpu(values: dict[Any, Tensor]) -> dict[Any, Tensor]:
    return {key: value.cpu() for key, value in values.items()}


#: A single process.
WHOLE = Shards()
