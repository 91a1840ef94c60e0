"""Pyro's global parameter store, which `pyro.infer.SVI` trains from, and its replacement by parameters in modules."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pyro
from pyro import poutine
from pyro.nn import PyroModule
from pyro.poutine.runtime import effectful
from torch import nn
from torch.distributions import constraints


@contextmanager
def local_parameters(validate: bool) -> Iterator[None]:
    """Keep parameters in modules, never in Pyro's global store, and choose whether distributions check arguments.

    Both are as before afterwards.
    """
    with pyro.validation_enabled(validate), pyro.settings.context(module_local_params=True):
        yield


def register(prefix: str, program: Callable) -> None:
    """Register a module's parameters for `SVI`: in Pyro's store, or without it if the setting keeps them in modules.

    Raises:
        ValueError: if the store holds another parameter of the same name.
    """
    for full_name, parameter in _trained(prefix, program):
        if _in_modules():
            _declare(full_name, parameter)
            continue
        stored: Any = pyro.param(full_name, parameter)
        if stored.unconstrained() is not parameter:
            raise ValueError(_stale(full_name))


def check_registered(prefix: str, program: Callable) -> None:
    """Refuse a module whose parameters differ from those of the same names in the store, such as loaded parameters.

    Raises:
        ValueError: if there is such a parameter.
    """
    store = dict(pyro.get_param_store().named_parameters())
    if not store or _in_modules():
        return
    for full_name, parameter in _trained(prefix, program):
        if store.get(full_name, parameter) is not parameter:
            raise ValueError(_stale(full_name))


def check_store(program: Any) -> None:
    """Refuse to let a PyroModule silently replace a parameter by an earlier model's of the same name.

    An optimizer that holds the module's parameter would then train nothing. Plain parameters are never replaced.

    Raises:
        ValueError: for such a parameter, and for a module that was built before `module_local_params` was set.
    """
    store: Any = pyro.get_param_store()
    program = poutine.unwrap(program)
    if not isinstance(program, PyroModule):
        return
    if _in_modules():
        if not hasattr(program._pyro_context, "param_state"):
            raise ValueError(
                f"{type(program).__name__} was built before pyro.settings.set(module_local_params=True), which Pyro "
                "reads when it builds a module; build it again."
            )
        return
    if not len(store):
        return
    for prefix, module in program.named_modules():
        for name in getattr(module, "_pyro_params", ()):
            full_name = f"{prefix}.{name}" if prefix else name
            own = getattr(module, f"{name}_unconstrained")
            if full_name in store and store[full_name].unconstrained() is not own:
                raise ValueError(_stale(full_name))


def only_registered() -> AbstractContextManager[Any]:
    """Hide parameters that are not registered from `SVI`, if parameters are kept in modules.

    A PyroModule announces each of its parameters too, in a form that `SVI` cannot take.
    """
    return poutine.block(hide_fn=_is_announced) if _in_modules() else nullcontext()


def _is_announced(message: Any) -> bool:
    """Return whether the message comes from a PyroModule's parameter, rather than from a program's `pyro.param`."""
    return message["type"] == "param" and getattr(message["fn"], "__self__", None) is not pyro.get_param_store()


def _in_modules() -> bool:
    return bool(pyro.settings.get("module_local_params"))


def _trained(prefix: str, program: Callable) -> Iterator[tuple[str, nn.Parameter]]:
    program = poutine.unwrap(program)
    for name, parameter in program.named_parameters() if isinstance(program, nn.Module) else ():
        if parameter.requires_grad:
            yield f"{prefix}$$${name}", parameter


def _declare(name: str, parameter: nn.Parameter) -> None:
    """Send handlers the message of `pyro.param`, without the store."""
    value: Any = parameter.detach()
    value.unconstrained = weakref.ref(parameter)
    effectful(lambda *_, **__: value, type="param")(name, parameter, constraint=constraints.real, name=name)


def _stale(name: str) -> str:
    prefix = name.partition("$$$")[0] if "$$$" in name else "model"
    return (
        f"Pyro's parameter store already holds another '{name}'; call pyro.clear_param_store() before training a new "
        "model, or build it after pyro.settings.set(module_local_params=True), which keeps parameters in modules; "
        f"to use parameters that you loaded into the store, call pyro.module('{prefix}', {prefix}, "
        "update_module_params=True), for model and guide."
    )
