"""Checks of the options of `python -m vje_ppl.train`, before any work."""

from __future__ import annotations

from omegaconf import DictConfig
from torch import nn

from vje_ppl.errors import UserError
from vje_ppl.methods.method import Method
from vje_ppl.settings.checks import AUTO, NULL, POSITIVE, number, one_of, whole

MOST_VIEWS = 64  # pairs of views grow with the square

#: Options of the training loop; the parts check their own.
OPTIONS = {
    "seed": whole(0),
    "batch_size": whole(1),
    "knn.every": whole(0),
    "knn.k": whole(1),
    "knn.bank": whole(1),
    "knn.queries": whole(1),
    "knn.temperature": POSITIVE,
    "trainer.epochs": whole(0),
    "trainer.views": whole(2, MOST_VIEWS),
    "trainer.log_every": whole(1),
    "trainer.num_nodes": whole(1),
    "trainer.accumulate": whole(1),
    "trainer.devices": AUTO | whole(1),
    "trainer.compile": one_of(True, False),
    "trainer.progress": one_of("auto", True, False),
    "trainer.warmup": number("a share of the run, from 0 to 1", lambda share: 0 <= share <= 1),
    "trainer.on_nonfinite": one_of("stop", "skip"),
    "trainer.clip": POSITIVE | NULL,
    "trainer.checkpoint_every": POSITIVE | NULL,
}


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
    if config.batch_size < module.min_batch_size:
        raise UserError(
            f"{type(module).__name__} compares images of a batch, so batch_size expects at least "
            f"{module.min_batch_size}, got {config.batch_size}."
        )


def has_batch_statistics(module: nn.Module) -> bool:
    """Return whether the other images of a batch influence an image's embedding."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())
