"""The isotropic Student-t restricted to the unit sphere, and normalized there.

Twin of `vje_ppl.distributions.spherical_student_t`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax, random
from numpyro.distributions import Distribution, constraints
from numpyro.distributions.util import promote_shapes

from vje_ppl.numpyro_port.distributions.log_gamma import finite_df
from vje_ppl.numpyro_port.distributions.sphere import from_versine, unit_ball, versine
from vje_ppl.numpyro_port.distributions.zonal_integral import draw_share, log_kernel, log_zonal_integral, zonal_moments


class SphericalStudentT(Distribution):
    """The density on the unit sphere of R^D that is proportional to the isotropic Student-t with `loc` on the sphere.

    log p(x) = −(ν+D)/2 log(1 + ‖x − μ‖²/(νσ²)) − log ∫ (1 + ‖y − μ‖²/(νσ²))^(−(ν+D)/2) dy
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "df": constraints.positive,
        "loc": unit_ball,
        "scale": constraints.positive,
    }
    support = constraints.sphere

    def __init__(self, df: Any, loc: Any, scale: Any, *, validate_args: bool | None = None) -> None:
        if jnp.ndim(loc) < 1 or jnp.shape(loc)[-1] < 2:
            raise ValueError(
                f"SphericalStudentT expects loc with a last dimension of two or more features, got shape "
                f"{jnp.shape(loc)}; the sphere of R^1 is two points."
            )
        batch_shape = lax.broadcast_shapes(jnp.shape(df), jnp.shape(loc)[:-1], jnp.shape(scale))
        event_shape = jnp.shape(loc)[-1:]
        # As everywhere in NumPyro, parameters keep their shapes, up to leading dimensions of 1.
        self.df, self.scale = promote_shapes(df, scale, shape=batch_shape)
        (self.loc,) = promote_shapes(loc, shape=batch_shape + event_shape)
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    @staticmethod
    def infer_shapes(
        df: tuple[int, ...], loc: tuple[int, ...], scale: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return batch and event shape from the shapes of the arguments, for NumPyro's shape inference."""
        return lax.broadcast_shapes(df, loc[:-1], scale), loc[-1:]

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw unit vectors, shape sample_shape + (..., D), without gradients: a cosine, then a random tangent."""
        assert key is not None
        key_share, key_tangent = random.split(key)
        shape = sample_shape + self.batch_shape + self.event_shape
        power, rate = self._power_and_rate()
        share = draw_share(key_share, power, rate, shape[-1], shape[:-1])
        loc = jnp.broadcast_to(jnp.asarray(self.loc, share.dtype), shape)
        return lax.stop_gradient(from_versine(key_tangent, loc, 2 * share))

    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        """Return the log density in nats of unit vectors, shape (..., D), over the sphere's area; shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        power, rate = self._power_and_rate()
        log_integral, mode = log_zonal_integral(power, rate, self.event_shape[0])
        share = 0.5 * versine(jnp.asarray(self.loc), jnp.asarray(value))
        return log_kernel(power, rate, share, mode) - log_integral

    @property
    def mean(self) -> jax.Array:
        """The mean, shape (..., D), inside the sphere: m μ, with m the mean cosine. It exists for every ν."""
        mean_cosine, _, _ = zonal_moments(*self._power_and_rate(), self.event_shape[0])
        return jnp.broadcast_to(mean_cosine[..., None] * self.loc, self.batch_shape + self.event_shape)

    @property
    def variance(self) -> jax.Array:
        """Feature-wise variances, shape (..., D): v μ_j² + s (1 − μ_j²), of the cosine, and of one feature across."""
        _, along, across = zonal_moments(*self._power_and_rate(), self.event_shape[0])
        squared = jnp.square(self.loc)
        variance = along[..., None] * squared + across[..., None] * (1 - squared)
        return jnp.broadcast_to(variance, self.batch_shape + self.event_shape)

    def _power_and_rate(self) -> tuple[jax.Array, jax.Array]:
        """Return power and rate of the kernel (1 + c u)^(−a), with u = ‖x − μ‖²/4."""
        dtype = jnp.result_type(self.df, self.loc, self.scale, float)
        df, scale = finite_df(self.df, dtype), jnp.asarray(self.scale, dtype)
        return 0.5 * (df + self.event_shape[0]), 4 / (df * jnp.square(scale))
