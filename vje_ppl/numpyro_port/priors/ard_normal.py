"""The Normal prior with a learned scale for each feature. Twin of `vje_ppl.models.priors.ard_normal`."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist


class ARDNormal:
    """`p(s) = Normal(0, diag(scale²))` on R^D, with a learned scale for each feature.

    The parameter is "prior.log_scale", after its path in the Pyro model.
    """

    def __init__(self, dim: int, init: float = 1.0) -> None:
        if not 0 < init < math.inf:
            raise ValueError(
                f"ARDNormal expects a positive initial scale, got {init}; it must be finite, and 1 is the standard "
                f"normal's."
            )
        self.dim = dim
        self.init = init

    def __call__(self) -> dist.Distribution:
        """Return the prior, batch shape (), event shape (D,)."""
        scale = jnp.exp(numpyro.param("prior.log_scale", jnp.full((self.dim,), math.log(self.init))))
        return dist.Normal(jnp.zeros_like(scale), scale).to_event(1)
