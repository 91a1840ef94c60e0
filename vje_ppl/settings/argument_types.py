"""Checks of configured values against the annotations of a constructor."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from vje_ppl.settings.checks import is_number

_MAPPINGS = (dict, Mapping)
_LISTS = (list, tuple, set, frozenset, Sequence, Collection)
_LARGEST = torch.finfo(torch.float32).max
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    types.NoneType: "null",
}


def first_mismatch(target: Callable[..., Any], arguments: Mapping[str, Any]) -> tuple[str, str] | None:
    """Find the first argument that does not match its annotation.

    Only types that a configuration can hold are checked: numbers, text, booleans, null, and lists of these. An argument
    with any other annotation, or without one, always matches. NaN is not a number.

    Args:
        target: a class or function.
        arguments: configured values by name.

    Returns:
        The argument's name and the expected type, in words; None if all match.
    """
    hints = _hints(target)
    for name, value in arguments.items():
        if name in hints and not _fits(value, hints[name]):
            return name, _words(hints[name])
    return None


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):  # annotations that only a type checker can resolve
        return {}


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if hint is float:
        return _is_number(value)
    if hint is int:
        return isinstance(value, int) and _is_number(value) and abs(value) < 2**63
    if hint in (bool, str, types.NoneType):
        return isinstance(value, hint)
    if (origin or hint) in _LISTS:
        return isinstance(value, list | tuple) and _items_fit(value, origin, inner)
    if (origin or hint) in _MAPPINGS or (inspect.isclass(hint) and issubclass(hint, Tensor | nn.Module)):
        return not isinstance(value, int | float | str | list | tuple | None)
    return True


def _is_number(value: Any) -> bool:
    """Return whether single precision can represent a number; each part checks for infinities itself."""
    return is_number(value) and (abs(value) <= _LARGEST or value in (math.inf, -math.inf))


def _items_fit(value: Sequence[Any], origin: Any, inner: tuple[Any, ...]) -> bool:
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        return len(value) == len(inner) and all(_fits(one, hint) for one, hint in zip(value, inner, strict=True))
    return not inner or all(_fits(one, inner[0]) for one in value)


def _words(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        typed = [one for one in inner if not (inspect.isclass(one) and issubclass(one, Tensor | nn.Module))]
        return " or ".join(dict.fromkeys(_words(one) for one in typed or inner))
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if (origin or hint) in _MAPPINGS:
        return "keys with values"
    if (origin or hint) in _LISTS:
        if origin is tuple and inner and inner[-1] is not Ellipsis:
            return f"a list of {len(inner)} ({', '.join(_words(one) for one in inner)})"
        return f"a list ({_words(inner[0])} each)" if inner else "a list"
    return _WORDS.get(hint, f"a {getattr(hint, '__name__', hint)}")
