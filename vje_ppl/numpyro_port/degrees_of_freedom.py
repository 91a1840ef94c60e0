"""Degrees of freedom of a Student-t site, fixed or learned. Twin of `vje_ppl.models.degrees_of_freedom`."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import Array, Float

#: Bounds of learned degrees of freedom; below, the tail is uselessly heavy, and above, the density is Gaussian. Ours.
LOWEST, HIGHEST = 0.1, 1e4
_MIDDLE, _HALF_WIDTH = 0.5 * math.log(LOWEST * HIGHEST), 0.5 * math.log(HIGHEST / LOWEST)


class DegreesOfFreedom:
    """Degrees of freedom ν of a Student-t: a constant, or one learned number for all images.

        log ν = m + h tanh((x − m) / h),    m the middle of the interval of log ν, h half its width.

    The parameter of learned degrees of freedom, x, is named after its path in the Pyro model: "<name>.raw".
    """

    value: np.ndarray | jax.Array

    def __init__(self, value: float = 1.0, learned: bool = False, name: str = "likelihood.df") -> None:
        if not (isinstance(value, int | float | np.number) and 0 < value < math.inf):
            raise ValueError(
                f"A Student-t expects positive degrees of freedom below infinity, got df={value}; 1 is the default, 30 "
                "is close to a Gaussian, and likelihood=polar_normal is Gaussian."
            )
        if learned and not LOWEST < value < HIGHEST:
            raise ValueError(
                f"Learned degrees of freedom must start between {LOWEST:g} and {HIGHEST:g}, got df={value}; start from "
                "another value, or fix it with learn_df=false."
            )
        self.learned = learned
        if learned:
            self.name = name
            self.init = _MIDDLE + _HALF_WIDTH * math.atanh((math.log(value) - _MIDDLE) / _HALF_WIDTH)
        else:
            self.value = np.asarray(float(value))

    def __call__(self, dtype: Any) -> Float[Array, "*shape"]:
        """Return ν, positive, shape (), in the given dtype, which is that of the latents."""
        if not self.learned:
            return jnp.asarray(self.value, dtype)
        raw = jnp.asarray(numpyro.param(f"{self.name}.raw", jnp.asarray(self.init, dtype)), dtype)
        return jnp.exp(_MIDDLE + _HALF_WIDTH * jnp.tanh((raw - _MIDDLE) / _HALF_WIDTH))
