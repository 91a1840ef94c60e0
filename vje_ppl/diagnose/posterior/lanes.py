"""Many posteriors side by side: one lane each, in blocks of one size, so that a function is compiled once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vje_ppl.diagnose.posterior.ported_program import Observed
from vje_ppl.numpyro_port.pytree import as_pytree


@as_pytree
@dataclass(frozen=True, eq=False)
class Lanes:
    """L posteriors, each of one observation.

    Attributes:
        power: the exponent of the likelihood, shape (L,).
        scale: the likelihood's scale, shape (L, D).
        observed: values of the observed sites, each (L, ...).
        start: where the search for the posterior starts, shape (L, D).
    """

    power: Any
    scale: Any
    observed: Observed
    start: Any

    def __len__(self) -> int:
        return len(self.scale)


def repeated(lanes: Any, times: int) -> Any:
    """Return each lane `times` times, one after the other."""
    return jax.tree.map(lambda one: np.repeat(np.asarray(one), times, axis=0), lanes)


def in_blocks(function: Callable[..., Any], size: int, *lanes: Any) -> Any:
    """Apply a function to lanes, `size` at a time.

    Args:
        function: from arrays of `size` lanes to arrays of as many.
        size: lanes in a block; the last block is filled up with its first lane.
        *lanes: pytrees of arrays (L, ...).

    Returns:
        The results of all lanes, as NumPy arrays.
    """
    count = len(jax.tree.leaves(lanes)[0])
    parts = []
    for start in range(0, count, size):
        places = np.minimum(np.arange(start, start + size), count - 1)
        parts.append(function(*jax.tree.map(lambda one: jnp.asarray(np.asarray(one)[places]), lanes)))  # noqa: B023
    return jax.tree.map(lambda *of_blocks: np.concatenate([np.asarray(one) for one in of_blocks])[:count], *parts)


@as_pytree
@dataclass(frozen=True, eq=False)
class PosteriorMap:
    """An affine map from standard coordinates ε to latents, in which a posterior looks like Normal(0, I):

        s = loc + scale · (ε + stretch · along (along · ε))

    scale is diagonal; along one direction, that of the mean seen in standard coordinates, the map stretches. A polar
    likelihood holds the radius more loosely than the direction, and no diagonal can follow.

    Attributes:
        loc: shape (..., D).
        scale: positive, shape (..., D).
        along: unit vectors, shape (..., D).
        stretch: at least 0, shape (...).
    """

    loc: Any
    scale: Any
    along: Any
    stretch: Any

    def __call__(self, noise: Any) -> Any:
        """Return latents of standard coordinates."""
        return self.loc + self.scale * (noise + self.stretch[..., None] * self._along(noise))

    def inverse(self, latent: Any) -> Any:
        """Return standard coordinates of latents."""
        noise = (latent - self.loc) / self.scale
        return noise - (self.stretch / (1 + self.stretch))[..., None] * self._along(noise)

    def log_det(self) -> Any:
        """Log |ds/dε|."""
        numpy = np if isinstance(self.loc, np.ndarray) else jnp
        return numpy.log(self.scale).sum(-1) + numpy.log1p(self.stretch)

    def unstretched(self) -> PosteriorMap:
        """Return its diagonal part."""
        return replace(self, stretch=0 * self.stretch)

    def _along(self, noise: Any) -> Any:
        return self.along * (self.along * noise).sum(-1, keepdims=True)
