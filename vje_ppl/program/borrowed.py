"""A method of a module that is registered elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any
from weakref import WeakMethod


class Borrowed:
    """Holds a method without its owner, so that a module can use another module's method without owning it.

    If copied or pickled together with the owner, for example in a module that contains both, the copy has the method of
    the copied owner. If copied without the owner, it has none. A function that is not a method may hold modules that
    are not copied with it, so a copy does not have it either.

    Args:
        function: a method of an object that is kept elsewhere, or a function.

    Source: ours.
    """

    def __init__(self, function: Callable[..., Any] | None) -> None:
        self._method = WeakMethod(function) if isinstance(function, MethodType) else None
        self._function = None if isinstance(function, MethodType) else function

    @property
    def function(self) -> Callable[..., Any] | None:
        """The function; None if its owner was deleted, and in a copy without the owner."""
        return self._function if self._method is None else self._method()

    def __reduce__(self) -> tuple[Any, ...]:
        # The owner is copied too, unless it has been already; the copy survives only if something else holds it.
        return Borrowed, (None if self._method is None else self._method(),)
