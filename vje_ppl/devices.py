"""Where and how precisely a run computes: Lightning Fabric, and what `auto` means."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning_utilities.core.rank_zero import log as fabric_log
from omegaconf import DictConfig
from torch import nn

from vje_ppl.errors import UserError

_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed"}


def launch(trainer: DictConfig, module: nn.Module, loggers: Any = None) -> Fabric:
    """Start Fabric on the configured devices; under torchrun, on those that it gives.

    Args:
        trainer: the `trainer` group.
        module: what will be trained; `precision=auto` and `channels_last=auto` look for convolutions in it.
        loggers: Fabric loggers, or None.

    Raises:
        UserError: for a device or precision that is unknown or not there.
    """
    devices, nodes = trainer.devices, trainer.num_nodes
    if "LOCAL_WORLD_SIZE" in os.environ:  # torchrun decides
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    if trainer.device not in ("auto", "cpu", "cuda", "mps"):
        raise UserError(f"trainer.device expects auto, cpu, cuda or mps, got {trainer.device}.")
    if trainer.device == "cuda" and not torch.cuda.is_available():
        raise UserError("trainer.device=cuda needs a GPU that torch can see, and there is none; use auto or cpu.")
    if trainer.device == "mps" and not torch.backends.mps.is_available():
        raise UserError("trainer.device=mps needs an Apple GPU, and there is none; use auto or cpu.")
    fabric_log.setLevel(logging.WARNING)  # the run's own first lines say what Fabric would
    fabric = Fabric(
        accelerator=trainer.device,
        devices=devices,
        num_nodes=nodes,
        precision=_precision(trainer, module),
        loggers=loggers,
    )
    fabric.launch()
    return fabric


def uses_channels_last(trainer: DictConfig, module: nn.Module) -> bool:
    """Whether images are laid out channels-last: as configured, or where there are convolutions."""
    if trainer.channels_last == "auto":
        return _has_convolutions(module)
    if not isinstance(trainer.channels_last, bool):
        raise UserError(f"trainer.channels_last expects auto, true or false, got {trainer.channels_last}.")
    return trainer.channels_last


def _precision(trainer: DictConfig, module: nn.Module) -> Any:
    precision = str(trainer.precision)
    if precision == "auto":
        precision = "bf16" if _has_convolutions(module) and _has_bf16(trainer.device) else "32"
    if precision not in _PRECISIONS:
        raise UserError(f"trainer.precision expects auto, 32 or bf16, got {trainer.precision}.")
    return _PRECISIONS[precision]


def _has_bf16(device: str) -> bool:
    """Whether the processor multiplies bf16 numbers itself; emulated, they are slower than float32."""
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu" and torch.backends.mps.is_available():
        return False
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # as torch's own CPU dispatch asks
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def _has_convolutions(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Conv2d) for part in module.modules())
