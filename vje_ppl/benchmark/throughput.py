"""Images per second against SimSiam as lightly's own CIFAR recipe trains it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from vje_ppl.benchmark.step import CHANNELS, SIDE, endless, random_batches
from vje_ppl.methods.simsiam import SimSiam
from vje_ppl.parallel.devices import uses_channels_last
from vje_ppl.parallel.fabric import Fabric
from vje_ppl.settings.build import build_encoder, build_joint_embedding
from vje_ppl.train.monitor import Monitor
from vje_ppl.train.step import TrainingStep, prepare

WORKERS = 2


class _RandomImages(Dataset):
    """Images of CIFAR's size through a transform, as torchvision's CIFAR10 hands them out."""

    def __init__(self, transform: Callable[[Image.Image], Any], count: int = 100_000) -> None:
        self._transform, self._count = transform, count
        self._pixels = np.random.default_rng(0).integers(0, 256, (1000, SIDE, SIDE, CHANNELS), dtype=np.uint8)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        return self._transform(Image.fromarray(self._pixels[index % len(self._pixels)]))


def simsiam_steps(config: DictConfig, fabric: Fabric, channels_last: bool, workers: int = WORKERS) -> Iterator[None]:
    """Train SimSiam step by step: lightly's transform in a DataLoader with workers, SGD with momentum."""
    from lightly.transforms import SimSiamTransform

    encoder = build_encoder(config, CHANNELS, SIDE)
    model: nn.Module = SimSiam(encoder, projector=[2048, 2048], predictor=512)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(model.parameters(), lr=0.06 * config.batch_size / 128, momentum=0.9, weight_decay=5e-4)
    module, optimizer = fabric.setup(model, sgd)
    transform = SimSiamTransform(input_size=SIDE, gaussian_blur=0.0)
    loader: DataLoader = DataLoader(
        _RandomImages(transform), config.batch_size, shuffle=True, drop_last=True, num_workers=workers
    )
    for views in loader:
        first, second = (view.to(fabric.device, non_blocking=True) for view in views[:2])
        if channels_last:
            first, second = (view.contiguous(memory_format=torch.channels_last) for view in (first, second))
        fabric.backward(module(first, second).loss)
        optimizer.step()
        optimizer.zero_grad()
        yield


def vje_steps(config: DictConfig, fabric: Fabric) -> Iterator[None]:
    """Train VJE step by step, as `vje_ppl.train` does."""
    module = build_joint_embedding(config, CHANNELS, SIDE)
    module = prepare(fabric, module, config.trainer, uses_channels_last(config.trainer, module))
    batches = random_batches(config, fabric.device)
    take_step = TrainingStep(fabric, module, config, batches.steps_per_epoch)
    monitor = Monitor(module)
    for batch in endless(batches):
        monitor.update(batch.step, take_step(batch.step, batch.views), take_step.finiteness)
        yield


def images_per_second(steps: Iterator[None], batch_size: int, seconds: float, warmup: int = 3) -> float:
    """Measure throughput over some seconds, after a few steps that fill queues and caches."""
    for _ in range(warmup):
        next(steps)
    _wait_for_gpu()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(steps)
        count += 1
    _wait_for_gpu()
    return count * batch_size / (time.perf_counter() - start)


def _wait_for_gpu() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def measure(config: DictConfig, fabric: Fabric, seconds: float, rounds: int = 2) -> dict[str, float]:
    """Return medians of images per second over alternating rounds, and their ratios.

    Each method has the machine to itself in its round: SimSiam's data workers are ended before the next one. SimSiam
    gets whichever of one or all threads it is faster with, since its workers need processors too.
    """
    float32 = Fabric(accelerator=fabric.device.type, devices=1, precision="32-true")
    plain = config.copy()
    plain.trainer.channels_last = False
    threads = torch.get_num_threads()
    methods: dict[tuple[str, int], Callable[[], Iterator[None]]] = {
        ("vje", threads): lambda: vje_steps(config, fabric),
        ("vje_float32", threads): lambda: vje_steps(plain, float32),
    }
    for count in {1, threads}:
        methods["simsiam_float32", count] = lambda: simsiam_steps(config, float32, channels_last=False)
        methods["simsiam_our_precision", count] = lambda: simsiam_steps(config, fabric, channels_last=True)
    rates: dict[tuple[str, int], list[float]] = {key: [] for key in methods}
    for _ in range(rounds):
        for key, steps in methods.items():
            torch.set_num_threads(key[1])
            stream = steps()
            rates[key].append(images_per_second(stream, config.batch_size, seconds))
            stream.close()  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    best: dict[str, float] = {}
    for (name, _), values in rates.items():
        best[name] = max(best.get(name, 0.0), float(np.median(values)))
    return {
        "images_over_simsiam": best["vje"] / best["simsiam_float32"],
        "images_over_simsiam_both_float32": best["vje_float32"] / best["simsiam_float32"],
        "images_over_simsiam_our_precision": best["vje"] / best["simsiam_our_precision"],
        **{f"{name}_images_per_s": value for name, value in best.items()},
    }
