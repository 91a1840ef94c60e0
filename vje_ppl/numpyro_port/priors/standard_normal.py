"""The standard normal prior. Twin of `vje_ppl.models.priors.standard_normal`."""

from __future__ import annotations

from numpyro.distributions import Distribution

from vje_ppl.numpyro_port.distributions import UnitNormal


class StandardNormal:
    """`p(s) = Normal(0, I)` on R^D."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def __call__(self) -> Distribution:
        """Return the prior, batch shape (), event shape (D,)."""
        return UnitNormal(self.dim)
