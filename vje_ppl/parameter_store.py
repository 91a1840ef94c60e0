"""Pyro's global parameter store, which `pyro.infer.SVI` trains from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
from pyro import poutine
from pyro.nn import PyroModule
from torch import nn


def register(prefix: str, program: Callable) -> None:
    """Register a module's parameters with Pyro, so that `SVI` finds them all."""
    program = poutine.unwrap(program)
    if not isinstance(program, nn.Module):
        return
    for name, parameter in program.named_parameters():
        if not parameter.requires_grad:
            continue
        full_name = f"{prefix}$$${name}"
        stored: Any = pyro.param(full_name, parameter)
        if stored.unconstrained() is not parameter:
            raise ValueError(_stale(full_name))


def check_store(program: Any) -> None:
    """Refuse what a PyroModule does in silence: take over a stored parameter of the same name, an earlier model's.

    An optimizer that holds the module's own would then train nothing. Plain parameters are never taken over.
    """
    store: Any = pyro.get_param_store()
    if not len(store) or pyro.settings.get("module_local_params"):
        return
    program = poutine.unwrap(program)
    for prefix, module in program.named_modules() if isinstance(program, PyroModule) else ():
        for name in getattr(module, "_pyro_params", ()):
            full_name = f"{prefix}.{name}" if prefix else name
            own = getattr(module, f"{name}_unconstrained")
            if full_name in store and store[full_name].unconstrained() is not own:
                raise ValueError(_stale(full_name))


def _stale(name: str) -> str:
    return (
        f"Pyro's parameter store already holds another '{name}'; call pyro.clear_param_store() before training a new "
        "model, or keep parameters in their modules with pyro.settings.set(module_local_params=True)."
    )
