"""Frozen dataclasses of arrays as pytrees."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

import jax


def as_pytree[T](dataclass: type[T]) -> type[T]:
    """Register a frozen dataclass, all of whose fields are arrays, as a JAX pytree. Use it as a decorator.

    Unlike `jax.tree_util.register_dataclass`, it rebuilds an instance without calling `__init__`, because JAX sometimes
    puts objects other than arrays in place of the leaves, which a check of the fields' types would refuse.

    Args:
        dataclass: the class.

    Returns:
        The class itself.
    """
    names = [field.name for field in fields(dataclass)]  # type: ignore[arg-type]

    def flatten(instance: T) -> tuple[list, None]:
        return [(jax.tree_util.GetAttrKey(name), getattr(instance, name)) for name in names], None

    def unflatten(_: None, leaves: Iterable) -> T:
        instance = object.__new__(dataclass)
        for name, leaf in zip(names, leaves, strict=True):
            object.__setattr__(instance, name, leaf)
        return instance

    jax.tree_util.register_pytree_with_keys(dataclass, flatten, unflatten)
    return dataclass
