"""Checks of a command's options: a table with a row for each key, `{"batch_size": whole(1), ...}`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from vje_ppl.errors import UserError, did_you_mean

#: Whole numbers from here on are too large for torch, and other numbers are near the end of single precision.
_TOO_LARGE, LARGEST = 2**63, 1e30


@dataclass(frozen=True)
class Check:
    """What an option expects; `first | second` accepts either.

    Attributes:
        words: the expectation, for the error.
        accepts: whether a value meets it.
    """

    words: str
    accepts: Callable[[Any], bool]

    def __or__(self, other: Check) -> Check:
        return Check(f"{self.words} or {other.words}", lambda value: self.accepts(value) or other.accepts(value))

    def require(self, key: str, value: Any) -> None:
        """Raise a UserError that names the key if the value is not accepted."""
        if not self.accepts(value):
            limit = ", and below 2**63" if is_whole(value) and value >= _TOO_LARGE else ""
            raise UserError(f"{key} expects {self.words}{limit}, got {value}.")


def whole(least: int, most: int = _TOO_LARGE - 1) -> Check:
    """Return a check for a whole number within bounds."""
    words = f"of at least {least}" if most == _TOO_LARGE - 1 else f"from {least} to {most}"
    return Check(f"a whole number {words}", lambda value: is_whole(value) and least <= value <= most)


def number(words: str, accepts: Callable[[float], bool]) -> Check:
    """Return a check for a number, not NaN, within bounds that the words state."""
    return Check(words, lambda value: is_number(value) and accepts(value))


def one_of(*choices: Any) -> Check:
    """Return a check for one of a few values; True and False are not numbers."""
    *most, last = ({None: "null", True: "true", False: "false"}.get(choice, str(choice)) for choice in choices)
    words = f"{', '.join(most)} or {last}" if most else last
    return Check(words, lambda value: any(value == one and isinstance(value, type(one)) for one in choices))


def list_of(words: str, entry: Check) -> Check:
    """Return a check for a list of at least one entry, or a single entry without brackets."""
    return Check(f"a list of {words}", lambda value: bool(as_list(value)) and all(map(entry.accepts, as_list(value))))


NULL, AUTO = one_of(None), one_of("auto")
POSITIVE = number("a number above 0", lambda value: 0 < value < LARGEST)


def check_table(config: DictConfig, table: Mapping[str, Check]) -> None:
    """Raise a UserError for the first key of the table whose value is not accepted."""
    for key, check in table.items():
        check.require(key, OmegaConf.select(config, key))


def check_names(key: str, wanted: Sequence[Any], known: Iterable[str]) -> None:
    """Raise a UserError if a list is empty or holds an unknown name."""
    known = list(known)
    if not known:
        raise UserError(f"{key} has no valid values here; leave it out.")
    names = ", ".join(known)
    for name in wanted:
        if name not in known:
            hint = did_you_mean(name, known) or f"give {key}=[{','.join(known)}] or some of them."
            raise UserError(f"{key} expects a list of {names}, got {name}; {hint}")
    if not wanted:
        raise UserError(f"{key} expects one or more of {names}, got none.")


def check_run(run: Any, instead: str = "") -> None:
    """Raise a UserError if no run folder is given."""
    if not run:
        raise UserError(f"run expects the folder of a trained run; give run=runs/<name>{instead}.")


def is_whole(value: Any) -> bool:
    """Return whether a value is an int and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is an int or a float, NaN and infinities included, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_list(value: Any) -> list[Any]:
    """Return the different entries of a list in their order, or of one value that was given without brackets."""
    entries = list(value) if isinstance(value, ListConfig | list | tuple) else [value]
    return [entry for place, entry in enumerate(entries) if entry not in entries[:place]]
