"""Statistics of a training epoch: means, kept on the device, and steps that were not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, distributed, nn
from torch.nn.functional import normalize
from torch.nn.utils import get_total_norm

from vje_ppl.methods.method import Terms

#: Embeddings collapse below this share of the spread of uniform directions. Ours.
COLLAPSED = 0.1

#: Most skipped steps in a row. Only the batch changes between them, so more are not the batch's fault.
MOST_IN_A_ROW = 20

#: Reduces a process's tensor over all processes.
type Reduce = Callable[[Tensor], Tensor]


def _own(local: Tensor) -> Tensor:
    return local


class Monitor:
    """Means over an epoch's steps, accumulated without waiting for the device.

    Args:
        module: the trained module; its `bounded_scale`, if any, determines which scales are at a bound.
        skips: whether to skip steps that are not finite; otherwise the first such step ends training.
    """

    def __init__(self, module: nn.Module, skips: bool = False) -> None:
        self._bounded_scale, self._skips = getattr(module, "bounded_scale", None), skips
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self._steps = 0
        self._checked: list[str] = []
        self._bad_step: Tensor | None = None  # the first step, for each quantity
        self._skipped: Tensor | None = None  # steps of the epoch, and in a row up to now, shape (2,)

    def update(self, step: int, terms: Terms, finiteness: Finiteness | None = None) -> None:
        """Add one step's terms; a step that was not finite is only counted.

        Args:
            step: its number.
            terms: its terms.
            finiteness: which quantities were not finite; by default, computed from the terms.
        """
        with torch.no_grad():
            seen = Finiteness.of(terms.checked()) if finiteness is None else finiteness
            statistics = self._statistics(terms)
            values = torch.stack([value.double() for value in statistics.values()])
            values = torch.where(seen.any_bad, 0.0, values)
            self._names = list(statistics)
            self._sums = values if self._sums is None else self._sums + values
            self._steps += 1
            counts = torch.zeros_like(seen.bad[:1], dtype=torch.int64).repeat(2)
            counts = counts if self._skipped is None else self._skipped
            in_a_row = torch.where(seen.any_bad, counts[1] + 1, 0)
            self._skipped = torch.stack([counts[0] + seen.any_bad, in_a_row])
            self._checked = list(seen.names)
            unset = torch.full_like(seen.bad, -1, dtype=torch.int64)
            first = unset if self._bad_step is None else self._bad_step
            self._bad_step = torch.where(seen.bad & (first < 0), step, first)

    def _statistics(self, terms: Terms) -> dict[str, Tensor]:
        embeddings = terms.embeddings.float()
        direction = normalize(embeddings, dim=-1)
        statistics = {"loss": terms.loss, **terms.scalars(), "embedding_norm": embeddings.norm(dim=-1).mean()}
        if embeddings.shape[1] > 1:  # a single image has no spread
            statistics["feature_std"] = direction.std(1).mean()
            statistics["spread"] = statistics["feature_std"] * embeddings.shape[-1] ** 0.5
        if self._bounded_scale is not None:
            statistics["share_at_bound"] = self._bounded_scale.share_at_bound(terms.scale)  # type: ignore[attr-defined]
        return statistics

    def failure_reason(self, earliest: Reduce = _own, *, of_epoch: bool = False) -> str | None:
        """Wait for the device, and return a clause on why training cannot continue, or None.

        Within a step, the clause names the first non-finite quantity from the embedding to the gradient.

        Args:
            earliest: takes the minimum of a tensor over processes, all of which must know it before they save.
            of_epoch: whether the epoch is over, in which at least one step should not have been skipped.
        """
        first = self._first_bad(earliest)
        if first is None or self._skipped is None:
            return None
        if not self._skips:
            return f"the objective became non-finite in {first}"
        skipped, in_a_row = self._skipped.tolist()
        if in_a_row > MOST_IN_A_ROW or (of_epoch and skipped == self._steps > 1):
            return f"the last {in_a_row} steps were all skipped for not being finite, of this epoch since {first}"
        return None

    def skipped(self) -> tuple[int, str]:
        """Wait for the device, and return the number of skipped steps of this epoch and a clause on the first."""
        count = 0 if self._skipped is None else int(self._skipped[0])
        return count, (self._first_bad() or "") if count else ""

    def _first_bad(self, earliest: Reduce = _own) -> str | None:
        if self._bad_step is None:
            return None
        never = torch.iinfo(torch.int64).max
        first = earliest(self._bad_step.where(self._bad_step >= 0, never))
        self._bad_step = first.where(first < never, -1)
        bad = [(step, name) for step, name in zip(self._bad_step.tolist(), self._checked, strict=True) if step >= 0]
        if not bad:
            return None
        step, name = min(bad, key=lambda one: one[0])
        return f"step {step}, first at {name}"

    def means(self, reduce: Reduce = _own) -> dict[str, float]:
        """Return means over the steps since the last `reset`, by name; `reduce` averages a tensor over processes."""
        taken = self._steps - self.skipped()[0]
        if self._sums is None or not taken:
            return {}
        return dict(zip(self._names, reduce(self._sums / taken).tolist(), strict=True))

    def reset(self) -> None:
        """Start the next epoch."""
        self._sums, self._steps = None, 0
        if self._skips and self._skipped is not None:
            self._skipped = self._skipped * torch.arange(2, device=self._skipped.device)  # the row continues
            self._bad_step = None

    def average(self, reduce: Reduce) -> None:
        """Average the epoch so far over processes, so that the state of each process is that of all."""
        self._sums = None if self._sums is None else reduce(self._sums)

    def state(self) -> dict[str, Any]:
        """Return plain state, for a checkpoint between two steps."""
        return {
            "names": self._names,
            "sums": self._sums,
            "steps": self._steps,
            "checked": self._checked,
            "bad_step": self._bad_step,
            "skipped": self._skipped,
        }

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore a state from `state`."""

        def moved(name: str) -> Tensor | None:
            value = state[name]
            return None if value is None else value.to(device)

        self._names, self._steps, self._checked = state["names"], state["steps"], state["checked"]
        self._sums, self._bad_step, self._skipped = moved("sums"), moved("bad_step"), moved("skipped")


def collapse_warning(means: dict[str, float], collapse_advice: str) -> str | None:
    """Return a sentence if normalized embeddings have nearly one direction; else None, as for batches of one image.

    `spread` is the standard deviation per feature of the directions, times sqrt(D): 1 for uniform directions, 0 for a
    single direction.

    Args:
        means: means of an epoch.
        collapse_advice: what may help, after "try".
    """
    spread = means.get("spread", 1.0)
    if not spread < COLLAPSED:
        return None
    return (
        f"warning: embeddings collapse: their directions spread {spread:.3f} of what uniform ones would (1 is spread, "
        f"0 is collapsed); try {collapse_advice}."
    )


@dataclass(frozen=True)
class Finiteness:
    """The quantities checked in a step, and which of them were not finite.

    Attributes:
        names: display names, in order of computation.
        bad: whether each has a NaN or an infinity, shape (K,).
    """

    names: tuple[str, ...]
    bad: Bool[Tensor, " K"]

    @classmethod
    def of(cls, quantities: Mapping[str, Tensor]) -> Finiteness:
        """Check one or more quantities by name, of any shape."""
        sums = torch.stack([value.detach().sum() for value in quantities.values()])
        return cls(tuple(quantities), ~torch.isfinite(sums))

    @property
    def any_bad(self) -> Bool[Tensor, ""]:
        """Whether anything was not finite, shape ()."""
        return self.bad.any()

    def over_processes(self) -> Finiteness:
        """Combine over processes, so that all of them decide alike."""
        bad = self.bad.to(torch.uint8)
        distributed.all_reduce(bad, distributed.ReduceOp.MAX)
        return replace(self, bad=bad.bool())


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
    """Return the length of the whole gradient, shape (); not finite either where squares of the gradient overflow."""
    return get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
