"""Versions of the packages behind a result."""

from __future__ import annotations

import platform
from importlib.metadata import version


def versions(*further: str) -> dict[str, str]:
    """Return versions of vje_ppl, torch, Pyro and further packages by name; `python` is the interpreter's."""
    names = ("vje_ppl", "torch", "pyro-ppl", *further)
    return {name: platform.python_version() if name == "python" else version(name) for name in names}
