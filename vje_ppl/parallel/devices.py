"""Where and how precisely a run computes: Lightning Fabric, and what `auto` means."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from torch import nn

from vje_ppl.errors import UserError
from vje_ppl.parallel.fabric import DDPStrategy, Fabric
from vje_ppl.parallel.freed_memory import keep_freed_memory
from vje_ppl.parallel.processes import single_process_environment, started_processes

_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed"}


def launch(trainer: DictConfig, module: nn.Module) -> Fabric:
    """Start Fabric on the configured devices; under torchrun and SLURM, in the processes that these started.

    Args:
        trainer: the `trainer` group.
        module: what will be trained; `precision=auto` and `channels_last=auto` look for convolutions in it.

    Raises:
        UserError: for a device or precision that is unknown or not available.
    """
    if trainer.device not in ("auto", "cpu", "cuda", "mps"):
        raise UserError(f"trainer.device expects auto, cpu, cuda or mps, got {trainer.device}.")
    if trainer.device == "cuda" and not torch.cuda.is_available():
        raise UserError("trainer.device=cuda needs a GPU, but torch finds none; use auto or cpu.")
    if trainer.device == "mps" and not torch.backends.mps.is_available():
        raise UserError("trainer.device=mps needs an Apple GPU, but torch finds none; use auto or cpu.")
    return start(trainer.device, trainer.devices, trainer.num_nodes, _precision(trainer, module))


def start(device: str, devices: Any, nodes: int = 1, precision: Any = "32-true") -> Fabric:
    """Start Fabric, and its processes if no launcher has started them.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`.
        devices: processes on this machine, a device each, or `auto`; what torchrun or SLURM started takes precedence.
        nodes: number of machines.
        precision: Fabric's name for it.

    Raises:
        UserError: for more processes than there are GPUs, or for several in a sweep without a launcher.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # the run's own first lines replace Fabric's
    if isinstance(devices, int) and devices < 1:
        raise UserError(f"the number of devices expects auto or a whole number of at least 1, got {devices}.")
    started = started_processes()
    if started is not None:
        devices, nodes = started.per_node, started.nodes
    if device != "cpu" and isinstance(devices, int) and 1 <= torch.cuda.device_count() < devices:
        raise UserError(
            f"{devices} processes on this machine need a GPU each, but torch finds {torch.cuda.device_count()}; "
            "start fewer, use the device cpu, or have SLURM show all GPUs of a node to each task (--gpus-per-node=..., "
            "not --gpus-per-task)."
        )
    plugins: list[Any] = [*single_process_environment()] if started is None else [started.environment]
    fabric = Fabric(
        accelerator=device,
        devices=devices,
        num_nodes=nodes,
        precision=precision,
        plugins=plugins,
    )
    if started is None and isinstance(fabric.strategy, DDPStrategy):
        _check_no_sweep(fabric.strategy.num_processes)
    fabric.launch()
    if fabric.device.type == "cpu":
        keep_freed_memory()
    return fabric


def _check_no_sweep(processes: int) -> None:
    """Refuse a sweep, because a process that Fabric starts repeats the whole command with all runs."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN and "LOCAL_RANK" not in os.environ:
        raise UserError(
            f"a sweep (-m) starts one run after another in one process, but this run needs {processes}; start each run "
            f"with its own command, or sweep with launcher=slurm, which starts the processes of each run."
        )


def uses_channels_last(trainer: DictConfig, module: nn.Module) -> bool:
    """Return whether images are laid out channels-last: as configured, or if there are convolutions."""
    if trainer.channels_last == "auto":
        return _has_convolutions(module)
    if not isinstance(trainer.channels_last, bool):
        raise UserError(f"trainer.channels_last expects auto, true or false, got {trainer.channels_last}.")
    return trainer.channels_last


def _precision(trainer: DictConfig, module: nn.Module) -> Any:
    precision = str(trainer.precision)
    if precision == "auto":
        precision = "bf16" if _has_convolutions(module) and multiplies_bf16(trainer.device) else "32"
    if precision not in _PRECISIONS:
        raise UserError(f"trainer.precision expects auto, 32 or bf16, got {trainer.precision}.")
    return _PRECISIONS[precision]


def multiplies_bf16(device: str) -> bool:
    """Return whether the processor multiplies bf16 numbers itself; emulated, they are slower than float32.

    Args:
        device: `auto`, `cpu` or `cuda`.
    """
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu" and torch.backends.mps.is_available():
        return False
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # like torch's own CPU dispatch
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def _has_convolutions(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Conv2d) for part in module.modules())


def chosen_device(name: str) -> torch.device:
    """Return the device of an option; auto is a GPU if there is one.

    Raises:
        UserError: for a device that is unknown or not available.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"device expects auto, cpu or cuda, got {name}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda needs a GPU, but torch finds none; use auto or cpu.")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")
