"""The standard normal of R^D. Twin of `vje_ppl.distributions.unit_normal`."""

from __future__ import annotations

from collections.abc import Sequence

import numpyro.distributions as dist


class UnitNormal(dist.Independent):
    """`Normal(0, I)` on R^D: `dist.Normal(0, 1).expand([D]).to_event(1)`, whose KL is NumPyro's own."""

    def __init__(self, dim: int, batch_shape: tuple[int, ...] = ()) -> None:
        super().__init__(dist.Normal(0.0, 1.0).expand([*batch_shape, dim]), 1)

    def expand(self, batch_shape: Sequence[int]) -> UnitNormal:
        """Return the same distribution with another batch shape."""
        return UnitNormal(self.event_shape[0], tuple(batch_shape))
