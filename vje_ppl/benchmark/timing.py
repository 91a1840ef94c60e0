"""Timing pieces of code against each other on a machine with other load."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Piece = Callable[[], object]


def alternate(pieces: Mapping[str, Piece], seconds: float, device: torch.device) -> dict[str, float]:
    """Run the pieces in turn, A B A B ..., so that a drift of the machine's speed affects all of them.

    Args:
        pieces: the pieces by name; each is first run three times without timing.
        seconds: duration.
        device: synchronized after each piece.

    Returns:
        Median seconds by name.
    """
    for piece in pieces.values():
        for _ in range(3):
            piece()
    times: dict[str, list[float]] = {name: [] for name in pieces}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < 3:
        for name, piece in pieces.items():
            _wait(device)
            start = time.perf_counter()
            piece()
            _wait(device)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
