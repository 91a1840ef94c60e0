"""Checks of the batch size, which depend on the module."""

from __future__ import annotations

from omegaconf import DictConfig
from torch import nn

from vje_ppl.errors import UserError
from vje_ppl.methods.method import Method
from vje_ppl.networks.whitening import WhiteningLayer

#: Least images of a batch for each feature that is whitened together. Ours.
LEAST_IMAGES = 2


def check_batch_size(config: DictConfig, module: Method) -> None:
    """Refuse batches that are too small for the method or for batch statistics, and statistics that `norm` forbids.

    Raises:
        UserError: if they are.
    """
    if config.norm == "group" and any(_has_batch_normalization(one) for one in module.encoders):
        raise UserError(
            f"norm=group does not change the batch normalization in {config.encoder.get('name', 'this encoder')}; give "
            "norm=batch, or another encoder."
        )
    if config.batch_size == config.trainer.accumulate and _has_batch_normalization(module):
        key = "batch_size" if config.batch_size == 1 else f"batch_size={config.batch_size} trainer.accumulate"
        raise UserError(
            f"{key}={config.trainer.accumulate} has no batch statistics, which norm=batch needs; give "
            f"batch_size={2 * config.batch_size} or more, or norm=group."
        )
    if config.batch_size < module.min_batch_size:
        raise UserError(
            f"{type(module).__name__} compares images of a batch, so batch_size expects at least "
            f"{module.min_batch_size}, got {config.batch_size}."
        )


def check_whitening(config: DictConfig, module: Method, world_size: int) -> None:
    """Refuse to whiten more features together than the images that a process has at a time can tell apart.

    Raises:
        UserError: if there are too few images.
    """
    groups = [part.group for part in module.modules() if isinstance(part, WhiteningLayer)]
    images = config.batch_size // (config.trainer.accumulate * world_size)
    if groups and images < LEAST_IMAGES * max(groups):
        raise UserError(
            f"guide.whiten={max(groups)} needs at least {LEAST_IMAGES * max(groups)} images at a time for the "
            f"covariance of {max(groups)} features, got {images}; give a smaller guide.whiten, or a larger batch_size."
        )


def has_batch_statistics(module: nn.Module) -> bool:
    """Return whether the other images of a batch influence an image's embedding."""
    return _has_batch_normalization(module) or any(isinstance(part, WhiteningLayer) for part in module.modules())


def _has_batch_normalization(module: nn.Module) -> bool:
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())
