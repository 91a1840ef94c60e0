"""Measure everything, print a table with the targets, and write JSON with the machine's description."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyro
import torch
from hydra import compose
from omegaconf import DictConfig

from vje_ppl.benchmark import decoding, memory, scaling, startup, step, throughput
from vje_ppl.parallel.devices import launch
from vje_ppl.parallel.randomness import seed_everything
from vje_ppl.settings.build import build_joint_embedding
from vje_ppl.terminal.table import format_table
from vje_ppl.terminal.versions import versions

#: (measure, sense, target, description)
TARGETS = [
    ("objective_over_fused", "<=", 1.15, "Pyro objective over hand-fused loss, forward and backward, 512 × 512"),
    ("objective_overhead_of_step", "<=", 0.02, "their difference at 256 × 128, as a share of a training step"),
    ("step_over_encoder", "<=", 1.12, "training step over the bare encoder, forward and backward, both views"),
    ("images_over_simsiam", ">=", 2.0, "images/s over SimSiam with lightly's pipeline, in float32"),
    ("images_over_simsiam_both_float32", ">=", None, "the same, with ours in float32 and its memory format as well"),
    ("images_over_simsiam_our_precision", ">=", 1.2, "images/s over SimSiam in our precision and memory format"),
    ("decoding_over_torchvision", ">=", 1.5, "JPEG to two views of 224 pixels, images/s over torchvision's pipeline"),
    ("peak_memory_gb", "<=", 1.5, "peak memory of a run on 50,000 images of 32 × 32, in GB"),
    ("train_help_over_torch", "<=", 1.0, "processor time of train --help over that of import torch"),
    ("compare_help_over_torch", "<=", 1.0, "the same of compare --help"),
    ("first_step_over_torch", "<=", 2.5, "the same of train on the digits, until its first step"),
    ("first_step_over_torch_step", "<=", None, "that over import torch and a step of one of its optimizers"),
]


def benchmark(config: DictConfig, wanted: Sequence[str]) -> int:
    """Run the benchmarks that `wanted` names, of `MEASURES`.

    Returns:
        0, even if targets are missed.
    """
    pyro.enable_validation(False)
    seed_everything(0)
    training = compose("train", ["encoder=small_resnet", "augment=cifar", f"batch_size={config.batch_size}"])
    fabric = launch(training.trainer, build_joint_embedding(training, step.CHANNELS, step.SIDE))
    measures = {
        "step": lambda: step.measure(training, fabric, config.seconds),
        "throughput": lambda: throughput.measure(training, fabric, config.seconds),
        "decoding": lambda: decoding.measure(fabric.device, config.seconds, config.workers or os.cpu_count() or 1),
        "memory": lambda: memory.measure(fabric.device.type),
        "startup": startup.measure,
        "scaling": lambda: scaling.measure(training, fabric.device, config.seconds / 20, config.output),
    }
    results: dict[str, Any] = {}
    for name in wanted:
        if name == "throughput" and importlib.util.find_spec("lightly") is None:
            print("throughput is skipped: it needs lightly; pip install 'vje_ppl[baselines]'")
            continue
        print(f"measuring {name} ...", flush=True)
        results |= measures[name]()
        _write(config.output, results, fabric)  # keeps results if the next benchmark fails
    print(format_table(_rows(results)))
    print(f"written to {config.output}")
    return 0


def _write(output: str, results: dict[str, Any], fabric: Any) -> None:
    machine = described(str(fabric.device), str(fabric.strategy.precision.precision))
    report = {"results": results, "targets": _rows(results), "machine": machine}
    Path(output).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    return [_row(name, sense, target, what, results) for name, sense, target, what in TARGETS if name in results]


def _row(name: str, sense: str, target: float | None, what: str, results: dict[str, float]) -> dict[str, Any]:
    value = results[name]
    met = target is None or (value <= target if sense == "<=" else value >= target)
    goal = "-" if target is None else f"{sense} {target}"
    return {"measure": what, "value": round(value, 4), "target": goal, "": "" if met else "missed"}


def described(device: str, precision: str | None = None) -> dict[str, Any]:
    """Describe the machine and the versions of the packages behind the figures.

    Args:
        device: torch's name of the device that computed.
        precision: Fabric's name of the precision, if there is one for all figures.
    """
    on_gpu = device.startswith("cuda")
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "gpu_memory_gb": torch.cuda.get_device_properties(0).total_memory / 1e9 if on_gpu else None,
        "cuda": torch.version.cuda if on_gpu else None,
        "precision": precision,
        "python": platform.python_version(),
        "versions": versions("torchvision", "lightning"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
