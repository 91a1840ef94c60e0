"""Errors for unknown keys and options, each with what to type instead."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Sequence
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import GrammarParseError, InterpolationKeyError, OmegaConfBaseException

from vje_ppl.errors import UserError, did_you_mean
from vje_ppl.settings.identity import new_address
from vje_ppl.terminal.mistyped import shell
from vje_ppl.terminal.parameters import parameters
from vje_ppl.terminal.text_keys import defaults, groups, options

#: Hydra's messages for adding a key that exists.
_THERE_ALREADY = (
    r"An item is already at '([^']*)'|^(\S+) appears more than once in the final|"
    r"^Multiple values for (\S+?)\. To override"
)

#: Mappings with keys of the user's choice.
OPEN = frozenset({"sources", "train", "evaluate", "uncertainty.corruptions"})


def check_keys(config: DictConfig, command: str) -> None:
    """Refuse overrides that delete keys, replace a mapping by a value, or add an unknown key.

    Args:
        config: the composed configuration.
        command: its name.

    Raises:
        UserError: for the first such override.
    """
    _check_shape(config, _own(command), "")
    written = OmegaConf.to_yaml(config, resolve=False)
    for override in task_overrides():
        match = re.fullmatch(r"\+{1,2}([A-Za-z_$][\w$.-]*)=.*", override, re.ASCII | re.DOTALL)
        if match is None or match[1] in groups() or _is_read(match[1], config, command, written):
            continue
        place, leaf = _first_unknown(match[1], command)
        node = OmegaConf.select(config, place) if place else config
        hint = _nearest(leaf, place, [str(one) for one in node if one != leaf])
        raise UserError(f"{override} adds an unknown key; {hint}")


def _first_unknown(name: str, command: str) -> tuple[str, str]:
    """Return the last mapping on the way to a dotted key that the command knows, and the next part of the key."""
    parts = name.split(".")
    for number in range(1, len(parts)):
        place = ".".join(parts[:number])
        if place not in groups() and not _has(_own(command), place):
            return ".".join(parts[: number - 1]), parts[number - 1]
    return ".".join(parts[:-1]), parts[-1]


def _own(command: str) -> DictConfig:
    own = defaults(command).copy()
    for key in ("defaults", "hydra"):
        own.pop(key, None)
    return own


def _check_shape(config: DictConfig, own: DictConfig, prefix: str) -> None:
    for key in map(str, own):
        name, expected = f"{prefix}{key}", own._get_node(key)
        if key not in config:
            raise UserError(_missing(name))
        found = config._get_node(key)
        if not isinstance(expected, DictConfig) or expected._is_none():
            continue
        if not isinstance(found, DictConfig) or found._is_none():
            first = str(next(iter(expected)))
            raise UserError(f"{name} is a group of keys and takes no value; set its keys, such as {name}.{first}=...")
        if name not in OPEN and not _is_part(expected):
            _check_shape(found, expected, f"{name}.")


def _missing(name: str) -> str:
    return (
        f"{name} is missing from the configuration, but the command needs it; leave out the argument that removes it "
        f"(~{name}, {name}=null, or another --config-name)."
    )


def _is_read(name: str, config: DictConfig, command: str, written: str) -> bool:
    """Return whether something reads a key: the command, a part that is built, or another key of the configuration."""
    group, _, rest = name.partition(".")
    chosen = HydraConfig.get().runtime.choices.get(group)
    if _has(_own(command), name) or (chosen is not None and _has(options(group).get(chosen), rest)):
        return True
    path, node = "", cast(Any, config)
    for key in name.split("."):
        path, node = f"{path}.{key}".lstrip("."), node._get_node(key, validate_access=False)
        if not isinstance(node, DictConfig):
            break
        if path in OPEN or _is_part(node):
            return True
    return re.search(rf"\$\{{[^}}]*\b{re.escape(name)}\b", written) is not None


def _is_part(node: DictConfig) -> bool:
    """Return whether a mapping is built: it has a `_target_`, even a missing one."""
    return node._get_node("_target_", validate_access=False) is not None


def _has(config: DictConfig | None, name: str) -> bool:
    """Return whether a dotted key exists, even as null; always true for None, a user's own option."""
    node: Any = config
    for key in name.split(".") if config is not None else ():
        if not isinstance(node, DictConfig) or node._is_none():
            return False
        node = node._get_node(key, validate_access=False)
        if node is None:
            return False
    return True


def task_overrides() -> list[str]:
    """Return the overrides of the present job, as typed."""
    overrides = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(overrides, list)
    return [str(one) for one in overrides]


def composition_sentence(error: Exception, lines: Sequence[str], arguments: Sequence[str], command: str) -> str:
    """Turn an error of Hydra or OmegaConf into a sentence that states the error and what to type.

    Args:
        error: the error.
        lines: its message.
        arguments: the command line.
        command: the name of its configuration.
    """
    text, cause = lines[0].rstrip("."), error.__cause__
    if match := re.match(r"Could not override '([^']*)'", text):
        return _unknown_key(match[1], cause, arguments, command)
    if match := re.search(_THERE_ALREADY, text):
        key = match[1] or match[2] or match[3]
        argument = _argument(f"+{key}", arguments) or f"+{key}=..."
        return f"{argument} adds {key}, which already exists; type {shell(argument[1:])}."
    if match := re.search(r"Could not delete from config. ('[^']*' does not exist|The value of '[^']*' is .*)", text):
        return f"{match[1]}, so ~ cannot remove it; leave that argument out."
    if isinstance(error, MissingConfigException) and text.startswith("Cannot find primary config"):
        return f"{text}; leave out --config-name, or give the folder of that file with --config-dir."
    if isinstance(error, InterpolationKeyError) or isinstance(cause, InterpolationKeyError):
        return _interpolation(error if isinstance(error, InterpolationKeyError) else cause)
    if match := re.match(r"Missing key (\S+)|Key '([^']*)' is not in struct", text):
        key = getattr(error, "full_key", None) or match[1] or match[2]
        return _missing(key)
    if isinstance(cause, GrammarParseError):
        return f"{text}: ${{ must be followed by the name of a key and }}; type ${{key}}."
    if isinstance(cause, OmegaConfBaseException):
        return f"{text}: {str(cause).splitlines()[0]}"
    return " ".join(lines)


def _why_no_group(group: str, command: str) -> str:
    """Say why a command's configuration lacks a group that exists."""
    whole, _, part = group.rpartition("/")
    owners = [
        name
        for name, option in options(whole).items()
        if any(isinstance(one, DictConfig) and part in one for one in option.get("defaults", []))
    ]
    if not owners:
        return f"{command} has no such group; leave it out"
    add = " or ".join(f"{whole}={one}" for one in owners)
    return f"the chosen {whole} has no part {part}; add {add}, or leave it out"


def _unknown_key(key: str, cause: BaseException | None, arguments: Sequence[str], command: str) -> str:
    group = key.partition("@")[0]
    if group in groups():
        what = _why_no_group(group, command) if group == key else f"type {group}=... without @"
        return f"Could not override '{key}': {what}."
    text = f"Could not override '{key}': there is no such key"
    parent = getattr(cause, "parent_node", None)
    if not isinstance(parent, DictConfig):
        return text
    place, _, leaf = key.rpartition(".")
    missing = str(getattr(cause, "key", leaf))
    sentence = f"{text}; {_nearest(missing, place, [str(one) for one in parent if one != 'hydra'])}"
    having = [name for name, one in options(place).items() if _has(one, leaf)]
    if having:
        return f"{sentence} It belongs to {place}={'|'.join(having)}."
    argument = _argument(key, arguments)
    return f"{sentence} To add it, type {shell(f'+{argument}')}." if argument and _takes(parent, leaf) else sentence


def _takes(part: DictConfig, name: str) -> bool:
    """Return whether the class that a part builds has an argument of that name."""
    if not _is_part(part) or OmegaConf.is_missing(part, "_target_"):
        return False
    target = new_address(str(part._target_))
    declared = parameters(target)
    if declared is not None:
        listed = [*declared.posonlyargs, *declared.args, *declared.kwonlyargs]
        return declared.kwarg is not None or name in {one.arg for one in listed}
    try:
        found = inspect.signature(hydra.utils.get_object(target)).parameters
    except Exception:  # from importing the user's module
        return False
    return name in found or any(one.kind is one.VAR_KEYWORD for one in found.values())


def _nearest(key: str, place: str, known: Sequence[str]) -> str:
    if hint := did_you_mean(key, known):
        return hint
    shown = [one for one in known if not one.startswith("_")]
    where = f"of {place}" if place else "here"
    return f"the keys {where} are {', '.join(shown)}." if shown else f"{place or key} has no keys."


def _interpolation(error: BaseException | None) -> str:
    key = re.search(r"Interpolation key '([^']*)'", str(error))
    name = key[1] if key else "..."
    hint = f"for the environment variable, type ${{oc.env:{name}}}" if name in os.environ else "give the name of a key"
    return f"{getattr(error, 'full_key', '')} refers to ${{{name}}}, but there is no such key; {hint}."


def _argument(key: str, arguments: Sequence[str]) -> str | None:
    """Return the last argument that sets a key."""
    return next((one for one in reversed(arguments) if one.startswith(f"{key}=")), None)
