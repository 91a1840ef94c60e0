"""The options of `python -m vje_ppl.evaluate`, checked before any work is done."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vje_ppl.errors import UserError
from vje_ppl.measures.anomaly.scored_images import score_options
from vje_ppl.settings.checks import listed

#: What can be evaluated, and the keys of the configuration that it depends on.
DEPENDS = {
    "knn": ("images", "knn"),
    "whitened_knn": ("images", "knn"),
    "linear": ("images", "linear", "seed"),
    "one_class": ("images", "scores", "one_class", "seed"),
    "ood": ("images", "scores", "ood", "seed"),
}

#: Whole numbers and their least value; null where it is allowed.
_AT_LEAST = {
    "seed": 0,
    "batch_size": 1,
    "linear.epochs": 1,
    "linear.batch_size": 1,
    "scores.samples": 1,
    "scores.pairs": 1,
    "scores.neighbours": 1,
    "scores.bank": 2,
    "scores.aggregate.images": 1,
    "scores.aggregate.samples": 1,
}
_AT_LEAST_OR_NULL = {"images.bank": 2, "images.test": 1, "one_class.epochs": 0, "one_class.batch_size": 1}


def check_options(config: DictConfig) -> None:
    """Refuse what cannot be meant, with one sentence.

    Args:
        config: the composed configuration of `configs/evaluate.yaml`.

    Raises:
        UserError: for the first mistake.
    """
    if not config.run:
        raise UserError("run expects the folder of a trained run; give run=runs/<name>.")
    wanted, kinds = listed(config.eval), list(DEPENDS)
    for kind in wanted:
        if kind not in kinds:
            near = get_close_matches(str(kind), kinds, n=1)
            hint = f"did you mean {near[0]}?" if near else f"give eval=[{','.join(kinds)}] or some of them."
            raise UserError(f"eval expects a list of {', '.join(kinds)}, got {kind}; {hint}")
    if not wanted:
        raise UserError(f"eval expects one evaluation or more, got none; give some of eval=[{','.join(kinds)}].")
    for bounds, null in ((_AT_LEAST, False), (_AT_LEAST_OR_NULL, True)):
        for key, least in bounds.items():
            value = OmegaConf.select(config, key)
            if not (_is_whole(value) and value >= least) and not (null and value is None):
                raise UserError(f"{key} expects a whole number of at least {least}{' or null' * null}, got {value}.")
    _check_each(config, "knn.k", "whole numbers of at least 1", lambda k: _is_whole(k) and k >= 1)
    _check_each(config, "linear.lr", "positive numbers", lambda lr: _is_number(lr) and lr > 0)
    if not _is_number(config.knn.temperature) or not config.knn.temperature > 0:
        raise UserError(f"knn.temperature expects a number above 0, got {config.knn.temperature}.")
    if not _is_number(config.linear.hold_out) or not 0 < config.linear.hold_out < 1:
        raise UserError(f"linear.hold_out expects a share between 0 and 1, got {config.linear.hold_out}.")
    if not _is_number(config.features_mb) or config.features_mb < 0:
        raise UserError(f"features_mb expects megabytes, at least 0, got {config.features_mb}.")
    if config.resume not in ("auto", "never"):
        raise UserError(f"resume expects auto or never, got {config.resume}.")
    score_options(config)


def _check_each(config: DictConfig, key: str, what: str, good: Callable[[Any], bool]) -> None:
    values = listed(OmegaConf.select(config, key))
    if not values or not all(good(value) for value in values):
        raise UserError(f"{key} expects a list of {what}, got {values}.")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
