"""A learned mixture of diagonal Normals as prior. Twin of `vje_ppl.models.priors.mixture`."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import random

from vje_ppl.numpyro_port.distributions import Mixture


class NormalMixture:
    """`p(s) = Σ_k w_k Normal(s; m_k, diag(c_k²))` on R^D, with learned weights, means and scales.

    The parameters are "prior.logits", "prior.loc" and "prior.log_scale", after their paths in the Pyro model.
    """

    def __init__(self, dim: int, components: int = 10, spread: float = 1.0) -> None:
        if components < 1 or not 0 < spread < math.inf:
            raise ValueError(
                f"NormalMixture expects components >= 1 and a positive spread, got {components} and {spread}; both "
                f"must be finite."
            )
        self.shape = (components, dim)
        self.start = spread / math.sqrt(dim)  # standard deviation of a feature of the first means

    def __call__(self) -> dist.Distribution:
        """Return the prior, batch shape (), event shape (D,)."""
        logits = numpyro.param("prior.logits", jnp.zeros(self.shape[0]))
        loc = numpyro.param("prior.loc", lambda key: self.start * random.normal(key, self.shape))
        log_scale = numpyro.param("prior.log_scale", jnp.zeros(self.shape))
        return Mixture(logits, dist.Normal(loc, jnp.exp(log_scale)).to_event(1))
