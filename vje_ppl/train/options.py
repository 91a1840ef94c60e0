"""The options of `python -m vje_ppl.train`, checked before any work is done."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from vje_ppl.errors import UserError
from vje_ppl.methods.method import Method

MOST_VIEWS = 64  # of an image; pairs of views grow with the square
LARGEST = 1e30  # a number beyond it is a slip, and near the end of single precision

#: Whole numbers and their least value.
_AT_LEAST = {
    "seed": 0,
    "batch_size": 1,
    "knn.every": 0,
    "knn.k": 1,
    "knn.bank": 1,
    "knn.queries": 1,
    "trainer.epochs": 0,
    "trainer.views": 2,
    "trainer.log_every": 1,
    "trainer.num_nodes": 1,
    "trainer.accumulate": 1,
}


def check_options(config: DictConfig) -> None:
    """Refuse what only the training loop uses and cannot be meant; the parts check their own.

    Args:
        config: the composed configuration of `configs/train.yaml`.

    Raises:
        UserError: for the first mistake.
    """
    for key, least in _AT_LEAST.items():
        value = OmegaConf.select(config, key)
        if not _is_whole(value) or value < least:
            raise UserError(f"{key} expects a whole number of at least {least}, got {value}.")
        if value >= 2**63:
            raise UserError(f"{key} expects a whole number below 2**63, got {value}.")
    if config.trainer.views > MOST_VIEWS:
        raise UserError(f"trainer.views expects {MOST_VIEWS} views of an image at most, got {config.trainer.views}.")
    devices = config.trainer.devices
    if devices != "auto" and not (_is_whole(devices) and devices >= 1):
        raise UserError(f"trainer.devices expects a whole number of at least 1, or auto, got {devices}.")
    if not isinstance(config.trainer.compile, bool):
        raise UserError(f"trainer.compile expects true or false, got {config.trainer.compile}.")
    if config.trainer.progress not in (True, False, "auto"):
        raise UserError(f"trainer.progress expects auto, true or false, got {config.trainer.progress}.")
    temperature = config.knn.temperature
    if not isinstance(temperature, int | float) or isinstance(temperature, bool) or not 0 < temperature < LARGEST:
        raise UserError(f"knn.temperature expects a number above 0, got {temperature}.")
    if not isinstance(config.trainer.warmup, int | float) or not 0 <= config.trainer.warmup <= 1:
        raise UserError(f"trainer.warmup expects a share of the run, from 0 to 1, got {config.trainer.warmup}.")
    if config.trainer.on_nonfinite not in ("stop", "skip"):
        raise UserError(f"trainer.on_nonfinite expects stop or skip, got {config.trainer.on_nonfinite}.")
    for key in ("trainer.clip", "trainer.checkpoint_every"):
        value = OmegaConf.select(config, key)
        if value is not None and not (isinstance(value, int | float) and 0 < value < LARGEST):
            raise UserError(f"{key} expects a number above 0, or null, got {value}.")


def check_batch_size(config: DictConfig, module: Method) -> None:
    """Refuse batches that are too small for the method or for batch statistics.

    Raises:
        UserError: if they are.
    """
    if config.batch_size == config.trainer.accumulate and has_batch_statistics(module):
        key = "batch_size" if config.batch_size == 1 else f"batch_size={config.batch_size} trainer.accumulate"
        raise UserError(
            f"{key}={config.trainer.accumulate} has no batch statistics, which norm=batch needs; give "
            f"batch_size={2 * config.batch_size} or more, or norm=group."
        )
    if config.batch_size < module.least_images:
        raise UserError(
            f"{type(module).__name__} compares images of a batch, so batch_size expects at least "
            f"{module.least_images}, got {config.batch_size}."
        )


def has_batch_statistics(module: nn.Module) -> bool:
    """Whether a batch's other images count in what becomes of an image."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
