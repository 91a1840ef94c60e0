"""Tracing a model or guide on draws and pairs of views at once, and its log densities at given values."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields, replace
from typing import Any

import pyro
import torch
from jaxtyping import Float
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_struct import Trace
from torch import Tensor

_DRAWS, _PAIRS = -3, -2


def map_posterior(posterior: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Change every tensor of a posterior; keep everything else."""
    tensors = {one.name: getattr(posterior, one.name) for one in fields(posterior)}
    return replace(posterior, **{name: change(one) for name, one in tensors.items() if isinstance(one, Tensor)})


class Given(Messenger):
    """Gives sites that are not observed the values of their names."""

    def __init__(self, values: dict[str, Tensor]) -> None:
        super().__init__()
        self._values = values

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self._values and not msg["is_observed"]:
            msg["value"] = self._values[msg["name"]]


def in_plates(program: Any, draws: int, pairs: int) -> Callable:
    """Return a program with plates of draws and of pairs of views to the left of the images."""
    return pyro.plate("draws", draws, dim=_DRAWS)(pyro.plate("pairs", pairs, dim=_PAIRS)(program))


def sample_sites(trace: Trace) -> dict[str, Any]:
    """Return sites with a density: not those that stand for plates or deterministic values."""
    nodes = poutine.util.prune_subsample_sites(trace).nodes.items()
    sites = {name: site for name, site in nodes if site["type"] == "sample"}
    return {name: site for name, site in sites.items() if not (site["infer"] or {}).get("_deterministic")}


def log_prob(trace: Trace, names: Collection[str], shape: torch.Size) -> Float[Tensor, "S P N"]:
    """Return the summed log density of some sites of a trace, expanded to a shape; at least one site."""
    trace.compute_log_prob(lambda name, _: name in names)
    return torch.stack([trace.nodes[name]["log_prob"].expand(shape) for name in names]).sum(0)
