"""The VampPrior: a mixture of the guide's posteriors of learned pseudo-embeddings.

Twin of `vje_ppl.models.priors.vamp`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from jax import random
from numpyro.distributions import Distribution

from vje_ppl.numpyro_port.distributions import Mixture


class VampPrior:
    """`p(s) = 1/K Σ_k q(s | u_k)` on R^D: the guide's posterior q of K learned pseudo-embeddings u_k, of equal weights.

    Differs from its twin in `bind`: the inference network stays in torch, so `bind` takes a function that returns the
    posteriors of the pseudo-embeddings as arrays, or a network in JAX. The parameter is "prior.pseudo_embeddings",
    after its path in the Pyro model.
    """

    def __init__(self, dim: int, components: int = 32, init_scale: float = 0.5) -> None:
        if components < 1 or not 0 < init_scale < math.inf:
            raise ValueError(
                f"VampPrior expects components >= 1 and a positive init_scale, got {components} and {init_scale}; both "
                f"must be finite."
            )
        self.shape = (components, dim)
        self.init_scale = init_scale
        self._infer: Callable[[jax.Array], Any] | None = None

    def bind(self, infer: Callable[[jax.Array], Any]) -> None:
        """Take the inference network, from embeddings (K, D) to a posterior of batch shape (K,)."""
        self._infer = infer

    def __call__(self) -> Distribution:
        """Return the prior, batch shape (), event shape (D,).

        Raises:
            ValueError: before `bind`.
        """
        if self._infer is None:
            raise ValueError(
                "VampPrior expects the guide's inference network before its first call; call prior.bind(infer)."
            )
        init = self.init_scale
        pseudo_embeddings = numpyro.param("prior.pseudo_embeddings", lambda key: init * random.normal(key, self.shape))
        return Mixture(jnp.zeros(self.shape[0]), self._infer(pseudo_embeddings).distribution())
