"""A command called from Python: composed as from the command line, and run in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vje_ppl.errors import UserError
from vje_ppl.parallel.randomness import random_states, set_random_states
from vje_ppl.terminal.command import sentence
from vje_ppl.terminal.mistyped import read_arguments
from vje_ppl.terminal.text_keys import quoted, settle_text
from vje_ppl.terminal.unknown_keys import check_keys


def call(command: str, overrides: Sequence[str]) -> Any:
    """Run a command in this process as `python -m vje_ppl.<command>` does.

    Args:
        command: its name.
        overrides: as on the command line.

    Returns:
        Its result. The global random states and Hydra's state are as before the call.

    Raises:
        UserError: for what the command line would refuse.
        KeyboardInterrupt: if a training inside the command is interrupted, after its state is saved.
    """
    before = random_states()
    try:
        with composed(command, overrides) as config:
            if config.get("devices", 1) != 1:
                raise UserError(
                    f"a call runs in one process; for devices={config.devices}, use python -m vje_ppl.{command}."
                )
            # by its name, as `python -m` finds it: this module is below the commands
            return getattr(import_module(f"vje_ppl.{command}.__main__"), command)(config)
    except SystemExit as left:
        raise KeyboardInterrupt("interrupted: the state is saved; repeat the call to resume") from left
    finally:
        set_random_states(before)


@contextmanager
def composed(command: str, overrides: Sequence[str]) -> Iterator[DictConfig]:
    """Compose the configuration of a command from overrides, with Hydra's state as before afterwards.

    Raises:
        UserError: for an override that the command line would refuse, and for an error of Hydra in the body.
    """
    hydra = HydraConfig.instance()
    before = hydra.cfg
    try:
        arguments = read_arguments(overrides, command)
        with initialize_config_module("vje_ppl.configs", version_base="1.3"):
            config = compose(command, arguments, return_hydra_config=True)
        hydra.set_config(config)
        OmegaConf.set_struct(config, False)
        config.pop("hydra")
        check_keys(config, command)
        settle_text(config, command)
        yield config
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(sentence(error, command, overrides)) from error
    finally:
        hydra.cfg = before


def as_overrides(caller: str, overrides: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """Return overrides, followed by settings by key as one types them.

    Raises:
        UserError: for an option of the command line, and for a setting that has no text, such as an object.
    """
    for override in overrides:
        if override.startswith("-"):
            raise UserError(f"{caller} expects overrides such as seed=1, got {override}; leave it out.")
    return [*overrides, *(f"{key}={_text(value, caller)}" for key, value in settings.items())]


def _text(value: Any, caller: str) -> str:
    return str(value) if isinstance(value, str | Path) else _nested(value, caller)


def _nested(value: Any, caller: str) -> str:
    match value:
        case str() | Path():
            return quoted(str(value))
        case list() | tuple():
            return f"[{','.join(_nested(one, caller) for one in value)}]"
        case Mapping():
            return "{" + ",".join(f"{key}:{_nested(one, caller)}" for key, one in value.items()) + "}"
        case None | bool() | int() | float():
            return json.dumps(value)
        case _:
            raise UserError(f"{caller} expects settings as numbers, texts, booleans, None or lists, got {value!r}.")
