"""The Laplace prior: independent features with a peak at zero. Twin of `vje_ppl.models.priors.laplace`."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist


class LaplacePrior:
    """`p(s) = Π_j Laplace(s_j; 0, b)` on R^D: `log p(s) = −D log(2b) − Σ_j |s_j| / b`."""

    scale: np.ndarray | jax.Array

    def __init__(self, dim: int, scale: float = math.sqrt(0.5)) -> None:
        if not 0 < scale < math.inf:
            raise ValueError(
                f"LaplacePrior expects a positive scale, got {scale}; it must be finite, and 0.7071 gives variance 1."
            )
        self.dim = dim
        self.scale = np.asarray(float(scale))

    def __call__(self) -> dist.Distribution:
        """Return the prior, batch shape (), event shape (D,)."""
        return dist.Laplace(jnp.zeros(self.dim), jnp.asarray(self.scale, float)).to_event(1)
