"""The multivariate Student-t prior: a standard normal whose radius has a heavy tail.

Twin of `vje_ppl.models.priors.student_t`.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution

from vje_ppl.numpyro_port.distributions import DiagonalStudentT


class StudentTPrior:
    """`p(s) = StudentT_ν(0, I)` on R^D: `log p(s) = c(ν, D) − (ν+D)/2 log(1 + ‖s‖²/ν)`, joint over the features."""

    df: np.ndarray | jax.Array

    def __init__(self, dim: int, df: float = 5.0) -> None:
        if not 0 < df < math.inf:
            raise ValueError(
                f"StudentTPrior expects positive degrees of freedom, got df={df}; 5 is the default, and "
                "prior=standard_normal is the limit of infinite df."
            )
        self.dim = dim
        self.df = np.asarray(float(df))

    def __call__(self) -> Distribution:
        """Return the prior, batch shape (), event shape (D,)."""
        return DiagonalStudentT(jnp.asarray(self.df, float), jnp.zeros(self.dim), jnp.ones(1))
