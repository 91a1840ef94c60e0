"""The standard normal prior. Twin of `vje_ppl.models.priors.standard_normal`."""

from __future__ import annotations

from numpyro.distributions import Distribution

from vje_ppl.numpyro_port.distributions import UnitNormal


class StandardNormal:
    """`p(s) = Normal(0, I)` on R^D.

    Base measure: Lebesgue on R^D, over which it integrates to one. Its KL from a diagonal Normal is in closed form.

    Args:
        dim: embedding width D.

    Source: the paper has a KL term; this default is ours.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def __call__(self) -> Distribution:
        """Return the prior, batch shape (), event shape (D,)."""
        return UnitNormal(self.dim)
