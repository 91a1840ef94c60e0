"""The share of each part of a training step: augmentation, encoder, program, optimizer, each with its gradients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, record_function

#: The prefix of the names under which parts are recorded.
_MARK = "vje_ppl:"

#: How torch names the update of an optimizer, and one node of the backward pass.
_OPTIMIZER, _BACKWARD = "Optimizer.", "autograd::engine::evaluate_function"


@contextmanager
def recorded(module: nn.Module, part: str) -> Iterator[None]:
    """Record each forward pass of a module as a part."""
    open_records: list[Any] = []

    def enter(*_: Any) -> None:
        open_records.append(record_function(_MARK + part))
        open_records[-1].__enter__()

    def leave(*_: Any) -> None:
        open_records.pop().__exit__(None, None, None)

    hooks = [module.register_forward_pre_hook(enter), module.register_forward_hook(leave, always_call=True)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def recorded_next[T](stream: Iterator[T], part: str) -> T:
    """Return the next entry of a stream, recorded as a part."""
    with record_function(_MARK + part):
        return next(stream)


def shares(piece: Callable[[], object], device: torch.device, repeats: int = 5) -> dict[str, float]:
    """Return the share of each recorded part in the time of a piece of code, forward and backward together.

    On a GPU it is the time of the kernels, and on a CPU that of the operations. An operation belongs to the innermost
    part around it, and a node of the backward pass to the part of the operation that made it.

    Args:
        piece: the code; run once before.
        device: where it computes.
        repeats: number of times that it is run.

    Returns:
        Shares by part, with `optimizer` and `rest`, which sum to one.
    """
    piece()
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(repeats):
            piece()
        if on_gpu:
            torch.cuda.synchronize(device)
    events = [event for event in profile.events() or [] if event.device_type == torch.autograd.DeviceType.CPU]
    times: dict[str, float] = defaultdict(float)
    makers: dict[int, str] = {}
    backward = []
    for event in sorted(events, key=lambda event: event.time_range.start):
        root, part = _place(event)
        own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        if root is not None and part is None:
            backward.append((root.sequence_nr, own))
            continue
        if event.sequence_nr >= 0:
            makers[event.sequence_nr] = part or "rest"  # the last operation of a number made the node
        times[part or "rest"] += own
    for number, own in backward:
        times[makers.get(number, "rest")] += own
    whole = sum(times.values())
    return {part: time / whole for part, time in sorted(times.items())}


def _place(event: Any) -> tuple[Any, str | None]:
    """Return the node of the backward pass around an event, if any, and else the innermost part around it."""
    while event is not None:
        if event.name.startswith(_MARK):
            return None, event.name.removeprefix(_MARK)
        if event.name.startswith(_OPTIMIZER):
            return None, "optimizer"
        if event.name.startswith(_BACKWARD):
            return event, None
        event = event.cpu_parent
    return None, None
