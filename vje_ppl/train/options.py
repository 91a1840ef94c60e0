"""Checks of the options of `python -m vje_ppl.train`, before any work and before torch is imported."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from vje_ppl.errors import UserError
from vje_ppl.settings.checks import AUTO, NULL, POSITIVE, check_table, list_of, number, one_of, whole

MOST_VIEWS = 64  # pairs of views grow with the square

#: Options of the training loop; the parts check their own.
OPTIONS = {
    "seed": whole(0),
    "batch_size": whole(1),
    "rotations": one_of(True, False),
    "cached_views": whole(0) | NULL,  # null: runs of earlier versions
    "knn.every": whole(0),
    "knn.k": whole(1),
    "knn.bank": whole(1),
    "knn.queries": whole(1),
    "knn.temperature": POSITIVE,
    "rank.images": AUTO | whole(0) | NULL,  # null: runs of earlier versions
    "rank.views": whole(0) | NULL,
    "optimizer.encoder_lr": POSITIVE | NULL,
    "init_parts": list_of("encoder and guide", one_of("encoder", "guide")) | NULL,  # null: runs of earlier versions
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


def checked(config: DictConfig) -> dict[str, Any]:
    """Return the configuration in plain containers, without interpolations.

    Raises:
        UserError: if a key has no value, or an option is invalid.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise UserError(f"{missing[0]} has no value; give {missing[0]}=... on the command line.")
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    check_table(config, OPTIONS)
    _check_effects(config)
    return {str(key): value for key, value in container.items()}


def _check_effects(config: DictConfig) -> None:
    """Refuse options that would have no effect.

    Raises:
        UserError: for such an option.
    """
    if config.get("init") is None and (config.get("init_parts") or ["encoder"]) != ["encoder"]:
        raise UserError(
            f"init_parts={list(config.init_parts)} has no effect without init; give init=<run folder>, or leave it out."
        )
    if config.optimizer.get("encoder_lr") is not None and config.encoder.get("freeze") is True:
        raise UserError("optimizer.encoder_lr has no effect on a frozen encoder; leave it out, or encoder.freeze=true.")
