"""Whether the numbers of an optimization step are finite, known on the device and not waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, distributed, nn
from torch.nn.utils import get_total_norm


@dataclass(frozen=True)
class Finiteness:
    """What was looked at in a step, and what of it was not finite.

    Attributes:
        names: for people, in the order in which it is computed.
        bad: for each whether it holds a NaN or an infinity, shape (K,).
    """

    names: tuple[str, ...]
    bad: Bool[Tensor, " K"]

    @classmethod
    def of(cls, quantities: Mapping[str, Tensor]) -> Finiteness:
        """Look at quantities by name, one or more, of any shape."""
        sums = torch.stack([value.detach().sum() for value in quantities.values()])
        return cls(tuple(quantities), ~torch.isfinite(sums))

    @property
    def any_bad(self) -> Bool[Tensor, ""]:
        """Whether anything was not finite, shape ()."""
        return self.bad.any()

    def over_processes(self) -> Finiteness:
        """What was not finite in any process, so that all of them decide alike."""
        bad = self.bad.to(torch.uint8)
        distributed.all_reduce(bad, distributed.ReduceOp.MAX)
        return replace(self, bad=bad.bool())


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
    """Length of the whole gradient, shape (); not finite either where squares of the gradient overflow."""
    return get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
