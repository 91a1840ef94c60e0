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

    It starts close to the standard normal: equal weights, scales of 1, and means that are draws from
    Normal(0, spread²/D), other ones for another seed. Components that start alike would stay alike. Far apart, in units
    of their scale, the first to come near the embeddings would take them all, and the others would learn nothing; so
    their distances, about √2 spread, do not grow with D.

    The parameters are "prior.logits", "prior.loc" and "prior.log_scale", their paths in the Pyro model.

    Base measure: Lebesgue on R^D, over which it integrates to one. No KL in closed form: Monte Carlo.

    Args:
        dim: embedding width D.
        components: their number K, at least 1.
        spread: root mean square of the first means' lengths, positive, in units of the embedding.

    Raises:
        ValueError: for no component, or a spread that is not positive and finite.

    Source: ours, as a prior of this model.
    """

    def __init__(self, dim: int, components: int = 10, spread: float = 1.0) -> None:
        if components < 1 or not 0 < spread < math.inf:
            raise ValueError(
                f"NormalMixture expects components >= 1 and a positive spread, got {components} and {spread}; both "
                "are finite."
            )
        self.shape = (components, dim)
        self.start = spread / math.sqrt(dim)  # standard deviation of a feature of the first means

    def __call__(self) -> dist.Distribution:
        """Return the prior, batch shape (), event shape (D,)."""
        logits = numpyro.param("prior.logits", jnp.zeros(self.shape[0]))
        loc = numpyro.param("prior.loc", lambda key: self.start * random.normal(key, self.shape))
        log_scale = numpyro.param("prior.log_scale", jnp.zeros(self.shape))
        return Mixture(logits, dist.Normal(loc, jnp.exp(log_scale)).to_event(1))
