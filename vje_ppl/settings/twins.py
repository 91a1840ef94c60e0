"""From a part in Pyro to its twin in NumPyro, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from vje_ppl.errors import UserError
from vje_ppl.settings.build import build

#: Where twins live: the first prefix that fits is replaced.
HOMES = {
    "vje_ppl.models.": "vje_ppl.numpyro_port.",
    "vje_ppl.guides.": "vje_ppl.numpyro_port.guides.",
    "vje_ppl.distributions": "vje_ppl.numpyro_port.distributions",
}


def twin_name(target: str) -> str:
    """Return the dotted path of the twin of a class or function.

    Raises:
        UserError: for a class or function outside `vje_ppl.models`, `vje_ppl.guides` and `vje_ppl.distributions`.
    """
    for home, port in HOMES.items():
        if target.startswith(home):
            return port + target.removeprefix(home)
    raise UserError(
        f"The cross-check expects parts with a NumPyro twin, but {target} cannot have one, because it lies outside "
        f"{', '.join(home.rstrip('.') for home in HOMES)}; move it there and write its twin."
    )


def twin(part: type) -> Any:
    """Return the twin of a class.

    Raises:
        UserError: if it has no twin.
    """
    return _twin_of(f"{part.__module__}.{part.__qualname__}")


def _twin_of(target: str) -> Any:
    name = twin_name(target)
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"{target} is not certified: it has no NumPyro twin for comparing it or sampling its posterior; write "
            f"{name}."
        ) from error


def build_model(config: DictConfig, dim: int, model: nn.Module) -> tuple[Any, dict[str, Any]]:
    """Return the twin of a configured model, and its learned parameters.

    Buffers of the torch model (degrees of freedom, say) become attributes at the same path of the twin, where it has
    one of that name.

    Args:
        config: the run's configuration, with `prior`, `likelihood` and `model`.
        dim: embedding width D.
        model: the torch model that was trained.

    Returns:
        The twin, and values for `numpyro.handlers.substitute`, by the parameter's path in the torch model.
    """

    def part(name: str, **offered: Any) -> Any:
        node = OmegaConf.to_container(config[name], resolve=True)
        assert isinstance(node, Mapping)
        return build(_renamed(node), f"the NumPyro twin of {name}", dim=dim, **offered)

    port = part("model", prior=part("prior"), likelihood=part("likelihood"))
    for path, buffer in model.named_buffers():
        owner, _, name = path.rpartition(".")
        holder = port
        for step in filter(None, owner.split(".")):
            holder = getattr(holder, step, None)
        if hasattr(holder, name):
            setattr(holder, name, buffer.detach().cpu().numpy())
    return port, {path: parameter.detach().cpu().numpy() for path, parameter in model.named_parameters()}


def _renamed(node: Any) -> Any:
    """Replace every target of a configuration by its twin.

    Raises:
        UserError: if a target has no twin.
    """
    if isinstance(node, Mapping):
        if "_target_" in node:
            _twin_of(node["_target_"])
        return {key: twin_name(value) if key == "_target_" else _renamed(value) for key, value in node.items()}
    return [_renamed(item) for item in node] if isinstance(node, list) else node


def posterior_for_prior(prior: Any, infer: Callable[[Tensor], Any]) -> Any:
    """Return the posterior that a prior requests from the inference network; None if it requests none."""
    if not hasattr(prior, "bind"):
        return None
    answers: list[Any] = []

    def remember(embedding: Tensor) -> Any:
        answers.append(infer(embedding))
        return answers[-1]

    prior.bind(remember)
    prior()
    prior.bind(infer)
    return answers[-1]
