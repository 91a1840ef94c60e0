"""Images per second, shares of a step and peak memory, of VJE, the baselines, and SimSiam as lightly trains it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from hydra import compose
from omegaconf import DictConfig

from vje_ppl.benchmark.campaign.limits import Sizes
from vje_ppl.benchmark.campaign.notebook import Notebook
from vje_ppl.benchmark.campaign.shares import recorded, recorded_next, shares
from vje_ppl.benchmark.step import CHANNELS, endless, random_batches
from vje_ppl.benchmark.throughput import images_per_second, simsiam_steps
from vje_ppl.parallel.devices import launch, uses_channels_last
from vje_ppl.settings.build import build_method
from vje_ppl.train.monitor import Monitor
from vje_ppl.train.step import TrainingStep, prepare

#: VJE first, then the baselines.
METHODS = ("vje", "simsiam", "vicreg", "barlow_twins", "byol", "vi_simsiam")


def measure(notebook: Notebook, sizes: Sizes, options: dict[str, Any]) -> None:
    """Measure VJE, lightly's SimSiam, large images and the baselines, in this order."""
    device = options["device"]
    small = (f"encoder={sizes.encoder}", "augment=cifar", f"batch_size={sizes.batch}")
    of_method("vje", small, 32, notebook, sizes, device)
    has_lightly = importlib.util.find_spec("lightly") is not None
    if has_lightly:
        config = configured(*small, device=device)
        rate = of_lightly(config, sizes)
        ours = notebook.results["vje_images_per_s"]
        notebook.write(lightly_simsiam_images_per_s=rate, vje_over_lightly_simsiam=ours / rate)
    else:
        notebook.write(lightly="not installed: the baselines are left out; pip install 'vje_ppl[baselines]'")
    large = (f"encoder={sizes.large_encoder}", "augment=imagenet", f"batch_size={sizes.large_batch}")
    of_method("large", (*large, "guide.network.width=2"), sizes.large_side, notebook, sizes, device)
    for method in METHODS[1:] if has_lightly else ():
        overrides = (*small, f"method={method}", *sizes.heads.get(method, ()))
        of_method(method, overrides, 32, notebook, sizes, device)


def configured(*overrides: str, device: str) -> DictConfig:
    """Return a training configuration, channels-last, and in bf16 on a GPU."""
    precision = "bf16" if device == "cuda" else "auto"
    fixed = (f"trainer.device={device}", f"trainer.precision={precision}", "trainer.channels_last=true")
    return compose("train", [*overrides, *fixed])


def of_method(name: str, overrides: Sequence[str], side: int, notebook: Notebook, sizes: Sizes, device: str) -> None:
    """Measure a training step: images per second, shares, and, on a GPU, peak memory in GB (1e9 bytes)."""
    config = configured(*overrides, device=device)
    module = build_method(config, CHANNELS, side)
    fabric = launch(config.trainer, module)
    module = prepare(fabric, module, config.trainer, uses_channels_last(config.trainer, module))
    batches = random_batches(config, fabric.device, max(sizes.images, config.batch_size), side)
    take_step = TrainingStep(fabric, module, config, batches.steps_per_epoch)
    monitor, stream = Monitor(module), endless(batches)

    def step() -> None:
        batch = recorded_next(stream, "augmentation")
        monitor.update(batch.step, take_step(batch.step, batch.views), take_step.finiteness)

    on_gpu = fabric.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    rate = images_per_second(iter(step, step), config.batch_size, sizes.seconds)
    found: dict[str, Any] = {f"{name}_images_per_s": rate}
    if on_gpu:
        found[f"{name}_peak_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    notebook.write(**found)
    with ExitStack() as records:
        records.enter_context(recorded(module, "program" if module.program else "heads_and_loss"))
        encoder: Any = module.encoder
        records.enter_context(recorded(encoder, "encoder"))
        if module.program:
            records.enter_context(recorded(module.program.guide.network, "inference_network"))
        found = shares(step, fabric.device, repeats=3)
    notebook.write(**{f"{name}_share_{part}": share for part, share in found.items()})


def of_lightly(config: DictConfig, sizes: Sizes) -> float:
    """Return images per second of SimSiam with lightly's transform, on the same device, in the same precision."""
    fabric = launch(config.trainer, build_method(config, CHANNELS, 32))
    stream = simsiam_steps(config, fabric, channels_last=True, workers=min(16, os.cpu_count() or 1))
    try:
        return images_per_second(stream, config.batch_size, sizes.seconds)
    finally:
        stream.close()  # type: ignore[attr-defined]
