"""The number of operations that launch a kernel on a GPU, counted on any device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode

#: Operations that only describe or reserve memory, beside views.
_WITHOUT_KERNEL = frozenset(
    {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh", "promote_types", "detach"}
    | {"_unsafe_view", "alias", "_reshape_alias", "resize_", "is_pinned", "_pin_memory"}
)


class _Launches(TorchDispatchMode):
    """Counts what reaches the kernels: operations below autograd, none of which calls another."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = func.overloadpacket.__name__
        if not func.is_view and name not in _WITHOUT_KERNEL:
            self.count += 1
        return func(*args, **(kwargs or {}))


def launches(piece: Callable[[], object]) -> int:
    """Return how many operations a piece of code runs that launch a kernel each, its backward pass included.

    Views and allocations are not counted. On a GPU a few operations launch two kernels, such as large reductions.

    Args:
        piece: the code, run once before, so that what is computed once is not counted.
    """
    piece()
    with _Launches() as counter:
        piece()
    return counter.count


def kernels(piece: Callable[[], object]) -> int:
    """Return how many kernels, copies and fills a GPU ran for a piece of code, by torch's profiler."""
    piece()
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        piece()
        torch.cuda.synchronize()
    cuda = torch.autograd.DeviceType.CUDA
    return sum(event.device_type == cuda and not event.is_user_annotation for event in profile.events() or [])
