"""The diagonal Student-t of a tangent plane of the unit sphere, mapped to the sphere by the exponential map."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax, random
from numpyro.distributions import Chi2, Distribution, constraints
from numpyro.distributions.util import promote_shapes

from vje_ppl.numpyro_port.distributions.log_gamma import finite_df, log_gamma_ratio
from vje_ppl.numpyro_port.distributions.sphere import missing_length, unit_ball

_SERIES = tuple(4.0**n * math.factorial(n) ** 2 / math.factorial(2 * n + 1) for n in range(9))
_SERIES_BELOW = 0.01


class TangentStudentT(Distribution):
    """Twin of `vje_ppl.distributions.TangentStudentT`, where the formulas and arguments are described.

        log t(x) = log Γ((ν+k)/2) − log Γ(ν/2) − k/2 log(νπ) − Σ_j log scale_j + ½ log Σ_j μ_j² scale_j²
                   − (ν+k)/2 log(1 + Σ_j (v_j/scale_j)²/ν),    v = θ (x − cos θ μ)/sin θ,    k = D − 1

    If `reference` is true, (D−2) log(θ/sin θ) is added.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "df": constraints.positive,
        "loc": unit_ball,
        "scale": constraints.independent(constraints.positive, 1),
    }
    support = constraints.sphere
    pytree_data_fields = ("df", "loc", "scale")
    pytree_aux_fields = ("reference",)

    def __init__(
        self, df: Any, loc: Any, scale: Any, reference: bool = False, *, validate_args: bool | None = None
    ) -> None:
        if jnp.ndim(loc) < 1 or jnp.shape(loc)[-1] < 2 or jnp.ndim(scale) < 1:
            raise ValueError(
                f"TangentStudentT expects loc and scale with a last dimension of the same two or more features, got "
                f"shapes {jnp.shape(loc)} and {jnp.shape(scale)}; add a dimension to a scalar scale for one feature."
            )
        batch_shape = lax.broadcast_shapes(jnp.shape(df), jnp.shape(loc)[:-1], jnp.shape(scale)[:-1])
        event_shape = jnp.shape(loc)[-1:]
        self.reference = reference
        # As everywhere in NumPyro, parameters keep their shapes, up to leading dimensions of 1.
        (self.df,) = promote_shapes(df, shape=batch_shape)
        self.loc, self.scale = promote_shapes(loc, scale, shape=batch_shape + event_shape)
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    @staticmethod
    def infer_shapes(
        df: tuple[int, ...], loc: tuple[int, ...], scale: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return batch and event shape from the shapes of the arguments, for NumPyro's shape inference."""
        return lax.broadcast_shapes(df, loc[:-1], scale[:-1]), loc[-1:]

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw unit vectors, shape sample_shape + (..., D), without gradients."""
        assert key is not None
        return self.sample_within(key, sample_shape)[0]

    def sample_within(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> tuple[jax.Array, jax.Array]:
        """Draw unit vectors, and whether each tangent vector is shorter than π.

        With probability 1 − P(‖v‖ < π) a tangent vector passes the antipode. The others follow the reference density.
        """
        key_normal, key_mixing = random.split(key)
        shape = sample_shape + self.batch_shape + self.event_shape
        dtype = jnp.result_type(self.df, self.loc, self.scale, float)
        loc, scale = jnp.broadcast_to(jnp.asarray(self.loc, dtype), shape), jnp.asarray(self.scale, dtype)
        normal = random.normal(key_normal, shape, dtype)
        vector = scale * normal
        along = (loc * vector).sum(-1) / self._variance_along_loc()
        vector = vector - jnp.square(scale) * loc * along[..., None]
        vector = vector - loc * (loc * vector).sum(-1, keepdims=True)  # what rounding left
        df = jnp.broadcast_to(finite_df(self.df, dtype), self.batch_shape)
        mixing = jnp.maximum(Chi2(df).sample(key_mixing, sample_shape) / df, jnp.finfo(dtype).tiny)
        length = jnp.linalg.norm(vector, axis=-1)
        distance = length * lax.rsqrt(mixing)
        angle = jnp.mod(jnp.minimum(distance, 1 / jnp.finfo(dtype).eps), 2 * math.pi)[..., None]
        tiny = jnp.finfo(dtype).tiny
        point = jnp.cos(angle) * loc + jnp.sin(angle) * vector / jnp.maximum(length, tiny)[..., None]
        point = jnp.where(jnp.square(loc).sum(-1, keepdims=True) > 0.5, point, normal)
        point = lax.stop_gradient(point / jnp.linalg.norm(point, axis=-1, keepdims=True))
        return point, distance < math.pi

    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        """Return the log density in nats of unit vectors, shape (..., D), over the sphere's area; shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        dtype, dim = jnp.result_type(self.df, self.loc, self.scale, float), self.event_shape[0]
        df = finite_df(self.df, dtype)
        half_df, half_plane = 0.5 * df, 0.5 * (dim - 1)
        log_normalizer = log_gamma_ratio(half_df, half_plane) - half_plane * math.log(2 * math.pi)
        log_scale = jnp.log(self.scale).sum(-1) * (dim // jnp.shape(self.scale)[-1])
        squared, log_factor = self._mahalanobis(jnp.asarray(value))
        log_kernel = -(half_df + half_plane) * jnp.log1p(squared / df)
        log_prob = log_normalizer - log_scale + 0.5 * jnp.log(self._variance_along_loc()) + log_kernel
        return log_prob + (dim - 2) * log_factor if self.reference else log_prob

    def _variance_along_loc(self) -> jax.Array:
        loc, scale = jnp.asarray(self.loc), jnp.asarray(self.scale)
        return jnp.square(loc * scale).sum(-1) + missing_length(loc)

    def _mahalanobis(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return Σ_j (v_j/scale_j)², and log(θ/sin θ)."""
        loc, scale = jnp.asarray(self.loc), jnp.asarray(self.scale)
        difference, total = value - loc, value + loc
        near, far = jnp.square(difference).sum(-1), jnp.square(total).sum(-1)
        is_near = near < far
        half = jnp.where(is_near, near, far)[..., None] / 2
        tangent = jnp.where(is_near[..., None], difference + half * loc, total - half * loc)  # of length sin θ
        squared = jnp.square(tangent / scale).sum(-1)
        sine_squared, floor = jnp.square(tangent).sum(-1), float(jnp.finfo(loc.dtype).eps) ** 4
        ratio = _angle_over_sine(jnp.where(is_near, near / 4, 0.25))
        beyond = jnp.maximum(jnp.where(is_near, 1.0, far), floor)  # 4 cos²(θ/2)
        angle = math.pi - 2 * jnp.arcsin(jnp.minimum(jnp.sqrt(beyond) / 2, 1.0))
        quotient = (squared + floor * scale.min(-1) ** -2) / (sine_squared + floor)
        mahalanobis = jnp.where(is_near, jnp.square(ratio) * squared, jnp.square(angle) * quotient)
        log_sine = 0.5 * jnp.log(beyond * jnp.maximum(1 - beyond / 4, 0.25))
        return mahalanobis, jnp.where(is_near, jnp.log(ratio), jnp.log(angle) - log_sine)


def _angle_over_sine(share: jax.Array) -> jax.Array:
    """Return θ/sin θ from sin²(θ/2), for θ up to π/2."""
    is_small = share < _SERIES_BELOW
    small = jnp.where(is_small, share, _SERIES_BELOW)
    series = jnp.zeros_like(small)
    for coefficient in reversed(_SERIES):
        series = series * small + coefficient
    large = jnp.minimum(jnp.where(is_small, _SERIES_BELOW, share), 0.5)
    return jnp.where(is_small, series, jnp.arcsin(jnp.sqrt(large)) / jnp.sqrt(large * (1 - large)))
