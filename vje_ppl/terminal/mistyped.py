"""Arguments of the command line that cannot be read: one sentence each, which says what to type instead."""

from __future__ import annotations

import inspect
import os
import re
import shlex
from argparse import ArgumentError
from collections.abc import Sequence
from typing import Any, cast

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import GrammarParseError, InterpolationKeyError, OmegaConfBaseException

from vje_ppl.errors import UserError, did_you_mean, printable
from vje_ppl.settings.identity import new_address
from vje_ppl.terminal.text_keys import LISTS, defaults, groups, options, quote_text, quoted, split, text_keys

#: Commands that can run several times in a row, over values that commas separate.
SWEEPING = frozenset({"train", "evaluate", "reproduce"})

#: Hydra's words for a key that is to be added and exists.
_THERE_ALREADY = (
    r"An item is already at '([^']*)'|^(\S+) appears more than once in the final|"
    r"^Multiple values for (\S+?)\. To override"
)

#: Mappings whose keys are the user's to choose.
OPEN = frozenset({"sources", "train", "evaluate", "uncertainty.corruptions"})

#: An argument whose key is well formed: `key=`, `+group/key=`, `~key`.
_KEY = r"[A-Za-z_$][\w$-]*(?:[./][\w$-]+)*(?:@[\w$.-]*)?"
_WITH_KEY = re.compile(rf"(?P<key>(?:\+{{0,2}}|~){_KEY})=(?P<value>.*)", re.ASCII | re.DOTALL)
_DELETION = re.compile(rf"~{_KEY}", re.ASCII)

#: What Hydra takes in a value outside quotes; brackets, commas and equals signs have a meaning of their own there.
_PLAIN = re.compile(r"[\w/\-\\+.$%*@?|: \t,()\[\]{}]", re.ASCII)


def read_arguments(arguments: Sequence[str], command: str) -> list[str]:
    """Check the arguments of a command line, and put quotes around text, so that Hydra takes it for text.

    Args:
        arguments: as typed, without the command's own name.
        command: the name of its configuration.

    Returns:
        The arguments for Hydra.

    Raises:
        UserError: for the first argument that cannot be read.
    """
    typed, sweep = _overrides(arguments)
    may_sweep = sweep or any(one.startswith("hydra.mode=") for one in typed)
    for argument, ready in zip(typed, quote_text(typed, command, sweep), strict=True):
        _check_form(argument)
        if not may_sweep and _has_several_values(ready, command):
            raise UserError(_several_values(argument, command))
        try:
            parsed = OverridesParser.create().parse_override(ready)
        except (HydraException, ValueError) as error:
            raise UserError(_unreadable(argument, error)) from error
        if parsed.key_or_group in groups() and parsed.value() is None and not parsed.is_delete():
            some = next(iter(options(parsed.key_or_group)), "<option>")
            raise UserError(f"{argument} chooses no option; leave it out, or type {parsed.key_or_group}={some}.")
    return quote_text(arguments, command, sweep)


def _overrides(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments that are no options, and whether `-m` is among the options."""
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        known, unknown = parser.parse_known_args(arguments)
    except ArgumentError as error:
        raise UserError(f"{error}; --help says how options are typed.") from error
    if not unknown:
        return list(known.overrides), bool(known.multirun)
    first = unknown[0]
    if not first.startswith("-"):
        raise UserError(f"{first} stands apart from the other keys; type options such as -m before all of them.")
    bare = first.lstrip("-")
    bare = bare if "=" in bare else f"{bare}=<value>"
    raise UserError(f"{first} is no option of this command; keys have no dashes: type {bare}.")


def _check_form(argument: str) -> None:
    """Refuse what is not `key=value`.

    Raises:
        UserError: if it is not.
    """
    match = _WITH_KEY.fullmatch(argument)
    if printable(argument) != argument and not argument.startswith("+logger.notes="):
        plain = "".join(one for one in argument if printable(one) == one).strip()
        raise UserError(f"{argument!r} holds a line break or another control character; type {shell(plain)}.")
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
    """Whether a value is one of a sweep: commas outside brackets and quotes, or a function such as range(0,3)."""
    key, _, value = ready.partition("=")
    if key.lstrip("+") in text_keys(command) and len(split(value)) > 1:
        return True
    return _readable(ready) and OverridesParser.create().parse_override(ready).is_sweep_override()


def _readable(argument: str) -> bool:
    """Whether Hydra can read it."""
    try:
        OverridesParser.create().parse_override(argument)
    except (HydraException, ValueError):
        return False
    return True


def _several_values(argument: str, command: str) -> str:
    key, _, value = argument.partition("=")
    one = len(split(value)) == 1  # a function
    is_text = key.lstrip("+") in text_keys(command)
    ways = [f"-m {shell(argument)} to run with each in turn"] if command in SWEEPING else []
    if not one and (not is_text or key.lstrip("+") in LISTS):
        ways.append(f"{shell(f'{key}=[{value}]')} for a list")
    if is_text:
        ways.append(f"{shell(f'{key}={quoted(value)}')} for text")
    hint = f"type {', or '.join(ways)}" if ways else "this command takes one at a time"
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
    if value.startswith("=") and _readable(f"{key}{value}"):
        return f"{argument} has one = too many; type {shell(f'{key}{value}')}."
    strange = next((one for one in value if not _PLAIN.match(one)), "")
    because = f", because of {strange!r} in its value" if strange else ""
    if value[:1] in ("[", "{"):
        return f"{argument} cannot be read{because}; put text inside the brackets in quotes."
    return f"{argument} cannot be read{because}; for text, type {shell(f'{key}={quoted(value)}')}."


def shell(argument: str) -> str:
    """An argument as one types it in a shell, in double quotes where it needs any and they do."""
    if shlex.quote(argument) == argument:
        return argument
    return shlex.quote(argument) if set('"$`\\!\n') & set(argument) else f'"{argument}"'


def check_keys(config: DictConfig, command: str) -> None:
    """Refuse overrides that take out keys, put a value where others have keys, or add a key that nothing reads.

    Args:
        config: the composed configuration.
        command: its name.

    Raises:
        UserError: for the first one.
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
        raise UserError(f"{override} adds a key that nothing reads; {hint}")


def _first_unknown(name: str, command: str) -> tuple[str, str]:
    """Where a dotted key leaves what the command knows: the mapping that it is still in, and the next part of it."""
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
            raise UserError(f"{name} holds keys and takes no value of its own; type {name}.{first}=... or the like.")
        if name not in OPEN and not _is_part(expected):
            _check_shape(found, expected, f"{name}.")


def _missing(name: str) -> str:
    return (
        f"{name} is missing from the configuration, and the command reads it; leave out what takes it away "
        f"(~{name}, {name}=null, or another --config-name)."
    )


def _is_read(name: str, config: DictConfig, command: str, written: str) -> bool:
    """Whether something reads a key: the command, a part that is built, or another key of the configuration."""
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
    """Whether it is built: it has a `_target_`, even one that is still to be given."""
    return node._get_node("_target_", validate_access=False) is not None


def _has(config: DictConfig | None, name: str) -> bool:
    """Whether a dotted key is there, be it null; of an option that is not ours, which may have any, we say yes."""
    node: Any = config
    for key in name.split(".") if config is not None else ():
        if not isinstance(node, DictConfig) or node._is_none():
            return False
        node = node._get_node(key, validate_access=False)
        if node is None:
            return False
    return True


def task_overrides() -> list[str]:
    """The overrides of the present job, as they stand."""
    overrides = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(overrides, list)
    return [str(one) for one in overrides]


def composition_sentence(error: Exception, lines: Sequence[str], arguments: Sequence[str], command: str) -> str:
    """What Hydra or OmegaConf found wrong, and what to type.

    Args:
        error: theirs.
        lines: of its message.
        arguments: the command line.
        command: the name of its configuration.
    """
    text, cause = lines[0].rstrip("."), error.__cause__
    if match := re.match(r"Could not override '([^']*)'", text):
        return _unknown_key(match[1], cause, arguments, command)
    if match := re.search(_THERE_ALREADY, text):
        key = match[1] or match[2] or match[3]
        argument = _argument(f"+{key}", arguments) or f"+{key}=..."
        return f"{argument} adds {key}, which is there already; type {shell(argument[1:])}."
    if match := re.search(r"Could not delete from config. ('[^']*' does not exist|The value of '[^']*' is .*)", text):
        return f"{match[1]}, so that ~ cannot take it out; leave that argument out."
    if isinstance(error, MissingConfigException) and text.startswith("Cannot find primary config"):
        return f"{text}; leave out --config-name, or say with --config-dir where that file lies."
    if isinstance(error, InterpolationKeyError) or isinstance(cause, InterpolationKeyError):
        return _interpolation(error if isinstance(error, InterpolationKeyError) else cause)
    if match := re.match(r"Missing key (\S+)|Key '([^']*)' is not in struct", text):
        key = getattr(error, "full_key", None) or match[1] or match[2]
        return _missing(key)
    if isinstance(cause, GrammarParseError):
        return f"{text}, where ${{ is not followed by the name of a key and }}; type ${{key}}."
    if isinstance(cause, OmegaConfBaseException):
        return f"{text}: {str(cause).splitlines()[0]}"
    return " ".join(lines)


def _unknown_key(key: str, cause: BaseException | None, arguments: Sequence[str], command: str) -> str:
    group = key.partition("@")[0]
    if group in groups():
        what = f"{command} has no such group; leave it out" if group == key else f"type {group}=... without @"
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
    """Whether what a part builds has an argument of that name."""
    try:
        parameters = inspect.signature(hydra.utils.get_object(new_address(part._target_))).parameters
    except Exception:  # of importing the user's own module
        return False
    return name in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


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
    return f"{getattr(error, 'full_key', '')} refers to ${{{name}}}, and there is no such key; {hint}."


def _argument(key: str, arguments: Sequence[str]) -> str | None:
    """The last argument that sets a key."""
    return next((one for one in reversed(arguments) if one.startswith(f"{key}=")), None)
