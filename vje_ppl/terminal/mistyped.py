"""Errors for command-line arguments that cannot be parsed, each with what to type instead."""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentError
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from vje_ppl.errors import UserError, printable
from vje_ppl.terminal.text_keys import LISTS, groups, options, parsed, quote_text, quoted, split, text_keys

#: Commands that can sweep over comma-separated values.
SWEEPING = frozenset({"train", "evaluate", "reproduce"})

#: An argument whose key is well formed: `key=`, `+group/key=`, `~key`.
_KEY = r"[A-Za-z_$][\w$-]*(?:[./][\w$-]+)*(?:@[\w$.-]*)?"
_WITH_KEY = re.compile(rf"(?P<key>(?:\+{{0,2}}|~){_KEY})=(?P<value>.*)", re.ASCII | re.DOTALL)
_DELETION = re.compile(rf"~{_KEY}", re.ASCII)

#: Characters that Hydra allows in a value without quotes; brackets and commas have their own meaning there.
_PLAIN = re.compile(r"[\w/\-\\+.$%*@?|: \t,()\[\]{}]", re.ASCII)


def read_arguments(arguments: Sequence[str], command: str) -> list[str]:
    """Check the arguments of a command line, and quote text so that Hydra reads it as text.

    Args:
        arguments: as typed, without the command's own name.
        command: the name of its configuration.

    Returns:
        The arguments for Hydra.

    Raises:
        UserError: for the first argument that cannot be parsed.
    """
    typed, sweep = _overrides(arguments)
    may_sweep = sweep or any(one.startswith("hydra.mode=") for one in typed)
    for argument, ready in zip(typed, quote_text(typed, command, sweep), strict=True):
        _check_form(argument)
        if not may_sweep and _has_several_values(ready, command):
            raise UserError(_several_values(argument, command))
        try:
            override = OverridesParser.create().parse_override(ready)
        except (HydraException, ValueError) as error:
            raise UserError(_unreadable(argument, error)) from error
        group = override.key_or_group
        if group in groups() and override.value() is None and not override.is_delete():
            some = next(iter(options(group)), "<option>")
            raise UserError(f"{argument} chooses no option; leave it out, or type {group}={some}.")
    return quote_text(arguments, command, sweep)


def _overrides(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Return the overrides among the arguments, and whether `-m` is among the options."""
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        known, unknown = parser.parse_known_args(arguments)
    except ArgumentError as error:
        raise UserError(f"{error}; see --help for the syntax of options.") from error
    if not unknown:
        return list(known.overrides), bool(known.multirun)
    first = unknown[0]
    if not first.startswith("-"):
        raise UserError(f"{first} is separated from the other keys; type options such as -m before all keys.")
    bare = first.lstrip("-")
    bare = bare if "=" in bare else f"{bare}=<value>"
    raise UserError(f"{first} is not an option of this command; keys have no dashes: type {bare}.")


def _check_form(argument: str) -> None:
    """Refuse an argument that is not `key=value`.

    Raises:
        UserError: if it is not.
    """
    match = _WITH_KEY.fullmatch(argument)
    if printable(argument) != argument and not argument.startswith("+logger.notes="):
        plain = "".join(one for one in argument if printable(one) == one).strip()
        raise UserError(f"{argument!r} contains a line break or another control character; type {shell(plain)}.")
    if match is not None and not match["value"].strip() and not match["key"].lstrip("+").startswith("logger."):
        raise UserError(f"{argument} has no value; type {match['key']}=<value>, or leave it out.")
    if match is not None or _DELETION.fullmatch(argument):
        return
    if not argument.strip():
        raise UserError("an argument is empty; type key=value, or leave it out.")
    key, equals, value = argument.partition("=")
    if equals:
        stripped = key.strip()
        if stripped != key and _WITH_KEY.fullmatch(f"{stripped}="):
            raise UserError(f"'{argument}' has space around its key; type {shell(f'{stripped}={value}')}.")
        raise UserError(f"'{argument}' has {f'{key!r} where a key should be' if key else 'no key'}; type key=value.")
    colon = re.fullmatch(r"([A-Za-z_][\w./]*):\s*(.+)", argument)
    guess = shell(f"{colon[1]}={colon[2]}") if colon else f"{argument.split()[0]}=<value>"
    raise UserError(f"'{argument}' is not of the form key=value; type {guess}.")


def _has_several_values(ready: str, command: str) -> bool:
    """Return whether a value makes a sweep: commas outside brackets and quotes, or a function such as range(0,3)."""
    key, _, value = ready.partition("=")
    if key.lstrip("+") in text_keys(command) and len(split(value)) > 1:
        return True
    read = parsed(ready)
    return read is not None and read.is_sweep_override()


def _several_values(argument: str, command: str) -> str:
    key, _, value = argument.partition("=")
    one = len(split(value)) == 1  # a function
    is_text = key.lstrip("+") in text_keys(command)
    ways = [f"-m {shell(argument)} to run with each in turn"] if command in SWEEPING else []
    if not one and (not is_text or key.lstrip("+") in LISTS):
        ways.append(f"{shell(f'{key}=[{value}]')} for a list")
    if is_text:
        ways.append(f"{shell(f'{key}={quoted(value)}')} for text")
    hint = f"type {', or '.join(ways)}" if ways else "this command takes a single value"
    return f"{argument} gives several values; {hint}."


def _unreadable(argument: str, error: Exception) -> str:
    key, _, value = argument.partition("=")
    for opening, closing in ("()", "[]", "{}"):
        if value.count(opening) != value.count(closing):
            which = "opens but does not close" if value.count(opening) > value.count(closing) else "does not open"
            return f"{argument} has a bracket that it {which}; type as many {opening} as {closing}."
    if value[:1] in ("'", '"') and value.count(value[0]) % 2:
        return f"{argument} opens a quote that it does not close; type {shell(f'{key}={value}{value[0]}')}."
    function = re.search(r"Unknown function '(\w+)'", str(error))
    if function or "while evaluating" in str(error):
        said = f"there is no function {function[1]}" if function else " ".join(str(error).split())
        return f"{argument} cannot be read: {said}; for text, type {shell(f'{key}={quoted(value)}')}."
    if value.startswith("=") and parsed(f"{key}{value}") is not None:
        return f"{argument} has one = too many; type {shell(f'{key}{value}')}."
    strange = next((one for one in value if not _PLAIN.match(one)), "")
    because = f", because of {strange!r} in its value" if strange else ""
    if value[:1] in ("[", "{"):
        return f"{argument} cannot be read{because}; put text inside the brackets in quotes."
    return f"{argument} cannot be read{because}; for text, type {shell(f'{key}={quoted(value)}')}."


def shell(argument: str) -> str:
    """Return an argument as typed in a shell: with quotes if it needs them, double quotes if they suffice."""
    if shlex.quote(argument) == argument:
        return argument
    return shlex.quote(argument) if set('"$`\\!\n') & set(argument) else f'"{argument}"'
