"""The groups of a configuration, and the method that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

#: The group of a configuration that chooses the method, and the name of the method without such a group.
METHOD, VJE = "method", "vje"


#: The groups of VJE's probabilistic program, which baselines do not use.
PROGRAM = ("model", "prior", "likelihood", "guide", "objective")


def method_name(config: Mapping[str, Any]) -> str:
    """Return the method of a configuration, as `method=...` names it; for a user's own method, the class."""
    node = config.get(METHOD)
    target = node.get("_target_") if isinstance(node, Mapping) else None
    if target is None:
        return VJE
    parts = str(target).split(".")
    return parts[-2] if parts[:2] == ["vje_ppl", "methods"] and len(parts) > 3 else parts[-1]


def groups(config: DictConfig) -> tuple[str, ...]:
    """Return the groups that a configuration needs to build a model."""
    parts = PROGRAM if config.get(METHOD) is None else (METHOD,)
    return ("data", "augment", "encoder", "trainer", *parts)
