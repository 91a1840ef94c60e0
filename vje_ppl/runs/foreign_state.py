"""Checks of a run from an untrusted source: what its state must hold, and what its configuration must not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from vje_ppl.errors import LAYOUT, UserError, printable
from vje_ppl.settings.checks import is_whole

#: Far deeper than any configuration of vje_ppl.
MOST_NESTED = 50


def _is_count(value: Any) -> bool:
    return is_whole(value) and value >= 0


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_shape_of_images(value: Any) -> bool:
    return _is_table(value) and all(_is_count(value.get(key)) and value[key] for key in ("channels", "image_size"))


def _is_weights(value: Any) -> bool:
    return _is_table(value) and all(torch.is_tensor(one) for one in value.values())


def _is_history(value: Any) -> bool:
    scalars = int | float | str | None
    return isinstance(value, list) and all(
        _is_table(row) and all(isinstance(one, scalars) for one in row.values()) and _is_count(row.get("epoch"))
        for row in value
    )


def _is_clock(value: Any) -> bool:
    names = ("seconds", "wait", "images")
    return _is_table(value) and all(isinstance(value.get(one), float) and math.isfinite(value[one]) for one in names)


#: Checks of the parts of a state: for building the model, and for resuming training.
MODEL: dict[str, Callable[[Any], bool]] = {
    "config": _is_table,
    "data": _is_shape_of_images,
    "module": _is_weights,
    "epoch": _is_count,
}
TRAINING = MODEL | {
    "data": lambda value: _is_shape_of_images(value) and _is_count(value.get("images")),
    "step_in_epoch": _is_count,
    "finished": lambda value: isinstance(value, bool),
    "optimizer": _is_table,
    "monitor": _is_table,
    "clock": _is_clock,
    "history": _is_history,
    "random": _is_table,
}


def check_state(state: Mapping[Any, Any], path: Path, parts: Mapping[str, Callable[[Any], bool]]) -> None:
    """Refuse a state that vje_ppl's training did not save.

    Args:
        state: the content of a checkpoint or an export.
        path: where it came from.
        parts: `MODEL` or `TRAINING`.

    Raises:
        UserError: if a part is missing or has the wrong type.
    """
    for name, is_sound in parts.items():
        if name not in state or not is_sound(state[name]):
            raise UserError(f"{path} is not a vje_ppl checkpoint: {name!r} is missing or has the wrong type.")


def check_text(config: Any, path: Path, depth: int = 0) -> None:
    """Refuse a configuration with active text: interpolations, which saved configurations lack, and control characters.

    An interpolation may read the environment or build an unchecked part; control characters may change what a terminal
    shows.

    Raises:
        UserError: if there is such text, or a value that is not plain.
    """
    if depth > MOST_NESTED:
        raise UserError(f"The configuration in {path} is nested more than {MOST_NESTED} levels deep.")
    if isinstance(config, Mapping):
        for key, value in config.items():
            check_text(key, path, depth + 1)
            check_text(value, path, depth + 1)
    elif isinstance(config, list | tuple):
        for value in config:
            check_text(value, path, depth + 1)
    elif isinstance(config, str):
        if "${" in config:
            raise UserError(
                f"The configuration in {path} contains the interpolation {printable(config[:80])}, but a saved "
                f"configuration has none; load the run with trust_targets=True if you trust its source."
            )
        if printable(config, LAYOUT) != config:
            raise UserError(f"The configuration in {path} contains control characters: {printable(config[:80])}.")
    elif not isinstance(config, int | float | None):
        raise UserError(f"The configuration in {path} contains a {type(config).__name__}, which is not a plain value.")
