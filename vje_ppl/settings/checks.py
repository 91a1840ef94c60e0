"""Checks that the options of several commands share."""

from __future__ import annotations

from typing import Any

from omegaconf import ListConfig


def listed(value: Any) -> list[Any]:
    """The different entries of a list in their order, or of one value that was given without brackets."""
    entries = list(value) if isinstance(value, ListConfig | list | tuple) else [value]
    return [entry for place, entry in enumerate(entries) if entry not in entries[:place]]
