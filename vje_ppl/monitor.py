"""What a training epoch is watched by: means of statistics, kept on the device, and the first sign of non-finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vje_ppl.method import Terms

#: Below this share of the spread of uniform directions, embeddings are said to collapse. Ours.
COLLAPSED = 0.1


class Monitor:
    """Means over an epoch's steps, accumulated without waiting for the device.

    Args:
        module: what is trained; its `bounded_scale`, where it has one, tells which scales sit at a bound.
    """

    def __init__(self, module: nn.Module) -> None:
        self._bounded_scale = getattr(module, "bounded_scale", None)
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self._steps = 0
        self._checked: list[str] = []
        self._bad_step: Tensor | None = None

    def update(self, step: int, terms: Terms) -> None:
        """Add one step's terms."""
        with torch.no_grad():
            statistics = self._statistics(terms)
            values = torch.stack([value.double() for value in statistics.values()])
            self._names = list(statistics)
            self._sums = values if self._sums is None else self._sums + values
            self._steps += 1
            checks = terms.checked()
            bad = ~torch.isfinite(torch.stack([value.sum() for value in checks.values()]))
            self._checked = list(checks)
            unset = torch.full_like(bad, -1, dtype=torch.int64)
            seen = unset if self._bad_step is None else self._bad_step
            self._bad_step = torch.where(bad & (seen < 0), step, seen)

    def _statistics(self, terms: Terms) -> dict[str, Tensor]:
        embeddings = terms.embeddings.float()
        direction = normalize(embeddings, dim=-1)
        statistics = {"loss": terms.loss, **terms.scalars(), "embedding_norm": embeddings.norm(dim=-1).mean()}
        if embeddings.shape[1] > 1:  # one image has no spread
            statistics["feature_std"] = direction.std(1).mean()
            statistics["spread"] = statistics["feature_std"] * embeddings.shape[-1] ** 0.5
        if self._bounded_scale is not None:
            statistics["share_at_bound"] = self._bounded_scale.share_at_bound(terms.scale)  # type: ignore[attr-defined]
        return statistics

    def trouble(self, earliest: Callable[[Tensor], Tensor] = lambda local: local) -> str | None:
        """Wait for the device; a clause that names the first non-finite step and quantity, or None.

        Within a step, the first on the way from the embedding to the loss is named.

        Args:
            earliest: takes the minimum of a tensor over processes, which all have to learn of it before they save.
        """
        if self._bad_step is None:
            return None
        never = torch.iinfo(torch.int64).max
        first = earliest(self._bad_step.where(self._bad_step >= 0, never))
        self._bad_step = first.where(first < never, -1)
        bad_steps = [(step, self._checked[i]) for i, step in enumerate(self._bad_step.tolist()) if step >= 0]
        if not bad_steps:
            return None
        step, name = min(bad_steps, key=lambda bad: bad[0])
        return f"the objective became non-finite in step {step}, first at {name}"

    def means(self, reduce: Callable[[Tensor], Tensor] = lambda local: local) -> dict[str, float]:
        """Means over the steps since the last `reset`, by name; `reduce` averages a tensor over processes."""
        if self._sums is None:
            return {}
        return dict(zip(self._names, reduce(self._sums / self._steps).tolist(), strict=True))

    def reset(self) -> None:
        """Start the next epoch."""
        self._sums, self._steps = None, 0

    def average(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """Let every process have the same share of the epoch so far, so that the state of one speaks for all."""
        self._sums = None if self._sums is None else reduce(self._sums)

    def state(self) -> dict[str, Any]:
        """Plain state, for a checkpoint between two steps."""
        return {"names": self._names, "sums": self._sums, "steps": self._steps}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Take up a state from `state`."""
        self._names, self._steps = state["names"], state["steps"]
        self._sums = None if state["sums"] is None else state["sums"].to(device)


def collapse_warning(means: dict[str, float], remedy: str) -> str | None:
    """One sentence when normalized embeddings have all but one direction, else None (as for batches of one image).

    `spread` is the standard deviation per feature of the directions, times sqrt(D): 1 where they are uniform, 0 where
    they are one.

    Args:
        means: of an epoch.
        remedy: what may help, after "try".
    """
    spread = means.get("spread", 1.0)
    if not spread < COLLAPSED:
        return None
    return (
        f"warning: embeddings collapse: their directions spread {spread:.3f} of what uniform ones would (1 is spread, "
        f"0 is collapsed); try {remedy}."
    )
