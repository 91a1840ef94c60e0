"""Keys whose values are text, such as names and paths, which are kept as typed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf

from vje_ppl.errors import UserError, printable

CONFIGS = "vje_ppl.configs"

#: Paths, by command; a leading `~` is the home directory.
PATHS: Mapping[str, frozenset[str]] = {
    "train": frozenset(
        {"run.root", "resume", "init", "encoder.weights", "data.root"}
        | {f"logger.{key}" for key in ("root_dir", "save_dir", "dir")}
    ),
    "evaluate": frozenset({"run", "data.root", "ood.root"}),
    "diagnose": frozenset({"run", "out", "data.root", "ood.root"}),
    "compare": frozenset({"runs", "out"}),
    "export": frozenset({"run", "out", "data.root"}),
    "score": frozenset({"run", "images", "out", "calibrate", "data.root"}),
    "crosscheck": frozenset({"run", "output", "picture"}),
    "reproduce": frozenset({"root", "cells", "out"}),
    "benchmark": frozenset({"output"}),
}

#: Any other text, by command.
NAMES: Mapping[str, frozenset[str]] = {
    "train": frozenset(
        {
            "run.name",
            "encoder.name",
            "data.file",
            "data.train",
            "data.test",
            "data.label",
            "data.only_class",
            "without_class",
        }
        | {f"logger.{key}" for key in ("name", "project", "entity", "group", "job_type", "id", "notes", "prefix")}
    ),
    "evaluate": frozenset({"one_class.classes"}),
    "compare": frozenset({"sort"}),
    "score": frozenset({"score"}),
}

#: Text that goes to SLURM with the jobs of a sweep.
LAUNCHER = frozenset(
    f"hydra.launcher.{key}"
    for key in ("submitit_folder", "name", "partition", "qos", "account", "comment", "constraint", "exclude", "gres")
)

#: Keys that also take a list of texts.
LISTS = frozenset({"runs", "images", "calibrate", "data.only_class", "one_class.classes", "without_class"})

#: Keys that also take a whole number: a class, by name or number.
NUMBERED = frozenset({"data.only_class", "one_class.classes", "without_class"})


@cache
def text_keys(command: str) -> frozenset[str]:
    """Return the keys of a command whose values are text, including configuration groups."""
    return PATHS[command] | NAMES.get(command, frozenset()) | LAUNCHER | groups()


@cache
def groups() -> frozenset[str]:
    """Yield the configuration groups of vje_ppl, such as `encoder` and `guide/network`."""

    def below(folder: Traversable, path: str) -> Iterable[str]:
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.name.startswith("_"):
                yield f"{path}{entry.name}"
                yield from below(entry, f"{path}{entry.name}/")

    return frozenset(below(resources.files(CONFIGS), ""))


def quote_text(arguments: Sequence[str], command: str, sweep: bool) -> list[str]:
    """Return the arguments of a command line, with quotes around text that Hydra would read as something else.

    `run.name=1e5` becomes `run.name='1e5'`. Numbers, booleans, lists and anything that Hydra cannot read are quoted.
    Text for Hydra, null, and functions that make a sweep are not changed.

    Args:
        arguments: as typed.
        command: the name of its configuration.
        sweep: whether commas separate the runs of a sweep.
    """
    return [_quote(argument, command, sweep) for argument in arguments]


def _quote(argument: str, command: str, sweep: bool) -> str:
    key, equals, value = argument.partition("=")
    name = key.lstrip("+")
    if not equals or name not in text_keys(command):
        return argument
    value = value.strip(" \t")
    choice = re.fullmatch(r"choice\((.*)\)", value, re.DOTALL)
    listed = name in LISTS and value.startswith("[") and value.endswith("]")
    if listed or (choice and sweep):
        value = choice[1] if choice else value[1:-1]
    elif _is_function_of_a_sweep(value) or (name in groups() and value.startswith("{")):
        return argument
    elements = split(value)
    if len(elements) > 1 and not (listed or sweep):
        return argument
    text = ",".join(_as_text(element, name in NUMBERED) for element in elements)
    return f"{key}=[{text}]" if listed else f"{key}={text}"


_PIECE = re.compile(r"""(?<![^\s,\[(])(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|\\.|.""", re.DOTALL)


def split(value: str) -> list[str]:
    """Split a value at the commas outside quotes and brackets."""
    parts, depth = [""], 0
    for piece in _PIECE.findall(value):
        depth += (piece in {"(", "[", "{"}) - (piece in {")", "]", "}"})
        if piece == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip(" \t") for part in parts]


def quoted(text: str) -> str:
    """Return text in quotes, as Hydra reads it."""
    return QuotedString(text, Quote.single).with_quotes()


def _as_text(element: str, numbered: bool) -> str:
    if numbered and re.fullmatch("0|[1-9][0-9]*", element):
        return element
    read = parsed(f"key={element}")
    is_text = read is not None and (read.value() is None or isinstance(read.value(), str))
    return element if is_text else quoted(element)


def _is_function_of_a_sweep(value: str) -> bool:
    read = parsed(f"key={value}")
    return read is not None and read.is_sweep_override() and len(split(value)) == 1


def parsed(argument: str) -> Override | None:
    """Return an argument as Hydra reads it; None if it cannot be read."""
    try:
        return OverridesParser.create().parse_override(argument)
    except (HydraException, ValueError):
        return None


@cache
def defaults(command: str) -> DictConfig:
    """Return the configuration file of a command, without its groups."""
    return _read(resources.files(CONFIGS) / f"{command}.yaml")


@cache
def options(group: str) -> dict[str, DictConfig]:
    """Return the options of a configuration group of vje_ppl by name; empty for an unknown group."""
    if group not in groups():
        return {}
    files = [one for one in (resources.files(CONFIGS) / group).iterdir() if one.name.endswith(".yaml")]
    return {one.name.removesuffix(".yaml"): _read(one) for one in sorted(files, key=lambda one: one.name)}


def _read(file: Traversable) -> DictConfig:
    config = OmegaConf.create(file.read_text(encoding="utf-8"))
    assert isinstance(config, DictConfig)
    return config


def settle_text(config: DictConfig, command: str) -> None:
    """Convert the values of text keys to text, in place, and expand `~` in paths.

    Numbers may come from a file, `${seed}`, or a sweep over `range(1,4)`.

    Raises:
        UserError: for text that is empty or has control characters, and for null where a value is required.
    """
    for key in sorted(text_keys(command) - LAUNCHER - NUMBERED - groups()):
        value = OmegaConf.select(config, key)
        if value is None and key not in LISTS and OmegaConf.select(defaults(command), key) is not None:
            raise UserError(f"{key} expects text, got null; for the text null, type \"{key}='null'\".")
        if isinstance(value, DictConfig) or (isinstance(value, ListConfig) and key not in LISTS):
            raise UserError(f"{key} expects text, got {value}; put it in quotes.")
        settled: Any = (
            [_settled(one, key, command) for one in value]
            if isinstance(value, ListConfig)
            else _settled(value, key, command)
        )
        if settled != value:
            OmegaConf.update(config, key, settled)


def _settled(value: Any, key: str, command: str) -> Any:
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    if not value.strip() and not key.startswith("logger."):
        raise UserError(f"{key} is empty; give it a value, or leave it out.")
    if printable(value) != value and key != "logger.notes":
        raise UserError(f"{key} contains a line break or another control character, {value!r}; leave it out.")
    return os.path.expanduser(value) if key in PATHS[command] else value
