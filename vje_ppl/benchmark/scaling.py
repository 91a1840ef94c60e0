"""How the time of a step of the objective grows with its sizes, and that of k-NN with its bank."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from vje_ppl.benchmark.timing import alternate
from vje_ppl.measures.knn import knn_ranks
from vje_ppl.settings.build import build_joint_embedding

#: What each size takes while the others are at the values of `BASE`.
GRID: dict[str, tuple[int, ...]] = {
    "batch": (64, 128, 256, 512, 1024),
    "features": (64, 128, 256, 512, 1024, 2048),
    "views": (2, 3, 4, 5, 6),
    "particles": (1, 2, 4, 8, 16),
}
BASE = {"batch": 256, "features": 256, "views": 2, "particles": 1}

#: Features in the bank of the k-NN, at 512 features each, here; `on=gpu` takes a larger one.
BANKS, WIDTH, QUERIES = (10_000, 20_000, 40_000, 80_000), 512, 4096

#: Rows of bank and queries that are compared at once, as `evaluate` does.
CHUNK = 4096


class _Embeddings(nn.Module):
    """An encoder of views that are embeddings already."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, view: Tensor) -> Tensor:
        return view


def objective_step(config: DictConfig, device: torch.device, **sizes: int) -> Callable[[], None]:
    """Return the forward and backward passes of inference network, guide, model and objective, from embeddings.

    Args:
        config: a training configuration.
        device: where it computes.
        **sizes: as in `BASE`.
    """
    config = config.copy()
    config.objective.num_particles = sizes["particles"]
    config.encoder = {"_target_": "vje_ppl.networks.encoders.MLP", "width": 8, "depth": 1, "dim": sizes["features"]}
    config.guide.network.width = 1
    module = build_joint_embedding(config, 1, 4)
    module.guide.encoder = _Embeddings(sizes["features"])
    module = module.to(device)
    views = [
        torch.randn(sizes["batch"], sizes["features"], device=device, requires_grad=True) for _ in range(sizes["views"])
    ]

    def step() -> None:
        module(*views).loss.backward()
        module.zero_grad(set_to_none=True)
        for view in views:
            view.grad = None

    return step


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the slope of the logarithm of time over the logarithm of size, by least squares: 1 is proportional."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def objective_times(
    config: DictConfig, device: torch.device, seconds: float, grid: Mapping[str, Sequence[int]] = GRID
) -> dict[str, dict[int, float]]:
    """Return median seconds of `objective_step` by size and value; the values of a size are timed in turn."""
    times = {}
    for size, values in grid.items():
        pieces = {str(value): objective_step(config, device, **BASE | {size: value}) for value in values}
        found = alternate(pieces, seconds * len(values), device)
        times[size] = {value: found[str(value)] for value in values}
    return times


def knn_times(
    banks: Sequence[int], width: int, queries: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> list[dict[str, float]]:
    """Time k-NN with banks in main memory, and measure the memory beyond bank and queries, in GB (1e9 bytes).

    Args:
        banks: sizes of the bank, ascending; the memory of the process never falls.
        width: features of each row.
        queries: number of queries, which go in blocks of `CHUNK`.
        device: where similarities are computed.
        dtype: the type in which the bank is kept.

    Returns:
        For each bank its size, the seconds, the memory, and the largest that the chunks should take.
    """
    rows = []
    for count in banks:
        bank, asked = (_features(number, width, device, dtype) for number in (count, queries))
        labels = [torch.arange(number) % 100 for number in (count, queries)]
        before = _peak_memory(device, reset=True)
        start = time.perf_counter()
        knn_ranks(
            bank, labels[0], asked, labels[1], k=200, temperature=0.1, num_classes=100, chunk=CHUNK, device=device
        )
        seconds = time.perf_counter() - start
        rows.append(
            {
                "bank": count,
                "width": width,
                "queries": queries,
                "seconds": seconds,
                "memory_gb": (_peak_memory(device) - before) / 1e9,
                # Similarities with the copies that `topk` makes of them, and rows of both sides, in float32.
                "bound_gb": 4 * (4 * CHUNK**2 + 8 * CHUNK * width) / 1e9,
            }
        )
        print(
            f"  k-NN, bank of {count} × {width}: {seconds:.2f} s, {rows[-1]['memory_gb']:.3f} GB beyond it", flush=True
        )
    return rows


def _features(count: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return random features in main memory, made on the device in parts."""
    rows = torch.empty(count, width, dtype=dtype)
    for start in range(0, count, CHUNK):
        part = rows[start : start + CHUNK]
        part.copy_(torch.randn(part.shape, device=device))
    return rows


def _peak_memory(device: torch.device, reset: bool = False) -> int:
    """Return the largest memory so far in bytes: of the GPU, or of this process."""
    if device.type == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(
    config: DictConfig,
    device: torch.device,
    seconds: float,
    output: str,
    grid: Mapping[str, Sequence[int]] = GRID,
) -> dict[str, Any]:
    """Return times, exponents and the k-NN, and draw the times beside the results."""
    rows = knn_times(BANKS, WIDTH, QUERIES, device)
    times = objective_times(config, device, seconds, grid)
    picture = Path(output).with_suffix(".png")
    draw(times, picture)
    return {**summary(times), "scaling_times_s": times, "scaling_knn": rows, "scaling_picture": str(picture)}


def summary(times: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    """Return the exponent of each size, and print it."""
    found = {}
    for size, by_value in times.items():
        found[f"scaling_exponent_{size}"] = exponent(list(by_value), list(by_value.values()))
        cells = ", ".join(f"{value}: {1e3 * one:.1f} ms" for value, one in by_value.items())
        print(f"  {size}: exponent {found[f'scaling_exponent_{size}']:.2f} ({cells})", flush=True)
    return found


def draw(times: Mapping[str, Mapping[int, float]], path: Path) -> None:
    """Draw the time of a step over each size, both on logarithmic axes, with the exponent above."""
    from vje_ppl.pictures.style import BLUE, frame, new_figure, save  # Matplotlib takes a second

    note = "Forward and backward of inference network, guide, model and objective, from embeddings. "
    note += ", ".join(f"{size} {value}" for size, value in BASE.items()) + " where they do not vary."
    figure = new_figure(9.5, 3.4, "Time of a step of the objective", note)
    for place, (size, by_value) in enumerate(times.items(), 1):
        axes = figure.add_subplot(1, len(times), place)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        milliseconds = [1e3 * one for one in by_value.values()]
        axes.plot(list(by_value), milliseconds, "o-", color=BLUE)
        slope = exponent(list(by_value), list(by_value.values()))
        frame(axes, f"exponent {slope:.2f}", "ms" if place == 1 else "", x=size)
        shown = list(by_value)[:: 2 if len(by_value) > 5 else 1]
        axes.set_xticks([float(value) for value in shown], [str(value) for value in shown])
        ends = [min(milliseconds), max(milliseconds)]
        axes.set_yticks(ends, [f"{one:,.0f}" if one >= 10 else f"{one:.2g}" for one in ends])
        axes.minorticks_off()
    save(figure, path)


def is_bounded(rows: Sequence[Mapping[str, float]]) -> bool:
    """Return whether each k-NN took no more memory than its chunks should."""
    return all(row["memory_gb"] <= row["bound_gb"] and math.isfinite(row["seconds"]) for row in rows)
