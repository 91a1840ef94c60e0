"""The multivariate Student-t with a diagonal scale matrix, at O(D) cost.

Twin of `vje_ppl.distributions.diagonal_student_t`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax, random
from numpyro.distributions import Chi2, Distribution, constraints
from numpyro.distributions.util import promote_shapes

from vje_ppl.numpyro_port.distributions.log_gamma import finite_df, log_gamma_ratio


class DiagonalStudentT(Distribution):
    """Multivariate Student-t with scale matrix diag(scale²).

    log p(x) = log Γ((ν+D)/2) − log Γ(ν/2) − D/2 log(νπ) − Σ_j log scale_j − (ν+D)/2 log(1 + m/ν),
    m = Σ_j ((x_j − loc_j) / scale_j)²
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "df": constraints.positive,
        "loc": constraints.real_vector,
        "scale": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    reparametrized_params: ClassVar[list[str]] = ["df", "loc", "scale"]

    def __init__(self, df: Any, loc: Any, scale: Any, *, validate_args: bool | None = None) -> None:
        if jnp.ndim(loc) < 1 or jnp.ndim(scale) < 1:
            raise ValueError(
                f"DiagonalStudentT expects loc and scale with a last dimension of features, got shapes "
                f"{jnp.shape(loc)} and {jnp.shape(scale)}; add a dimension to a scalar for one feature."
            )
        batch_shape = lax.broadcast_shapes(jnp.shape(df), jnp.shape(loc)[:-1], jnp.shape(scale)[:-1])
        event_shape = lax.broadcast_shapes(jnp.shape(loc)[-1:], jnp.shape(scale)[-1:])
        # As everywhere in NumPyro, parameters keep their shapes, up to leading dimensions of 1.
        (self.df,) = promote_shapes(df, shape=batch_shape)
        self.loc, self.scale = promote_shapes(loc, scale, shape=batch_shape + event_shape)
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    @staticmethod
    def infer_shapes(
        df: tuple[int, ...], loc: tuple[int, ...], scale: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return batch and event shape from the shapes of the arguments, for NumPyro's shape inference."""
        return lax.broadcast_shapes(df, loc[:-1], scale[:-1]), lax.broadcast_shapes(loc[-1:], scale[-1:])

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw loc + scale · x / sqrt(c/ν), x standard normal, c chi-squared(ν); shape sample_shape + (..., D).

        Gradients reach loc, scale and df.
        """
        assert key is not None
        key_normal, key_mixing = random.split(key)
        shape = sample_shape + self.batch_shape + self.event_shape
        dtype = jnp.result_type(self.df, self.loc, self.scale, float)
        normal = random.normal(key_normal, shape, dtype)
        # A chi-squared with small ν can underflow to zero; avoid 1/0.
        df = jnp.broadcast_to(finite_df(self.df, dtype), self.batch_shape)
        mixing = jnp.maximum(Chi2(df).sample(key_mixing, sample_shape) / df, jnp.finfo(dtype).tiny)
        return self.loc + self.scale * normal * lax.rsqrt(mixing)[..., None]

    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        """Return the log density in nats of `value`, shape (..., D), over Lebesgue measure on R^D; shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        df, dim = self._finite_df(), self.event_shape[0]
        half_df, half_dim = 0.5 * df, 0.5 * dim
        # D/2 log ν cancels against the ratio of gammas, so both are taken relative to (ν/2)^(D/2).
        log_normalizer = log_gamma_ratio(half_df, half_dim) - 0.5 * dim * math.log(2 * math.pi)
        log_scale = jnp.log(self.scale).sum(-1) * (dim // jnp.shape(self.scale)[-1])
        standardized = (value - self.loc) / self.scale
        squared = jnp.square(standardized).sum(-1)
        return log_normalizer - log_scale - (half_df + half_dim) * jnp.log1p(squared / df)

    @property
    def mean(self) -> jax.Array:
        """The mean, shape (..., D): loc, and NaN where ν ≤ 1 and it does not exist."""
        mean = jnp.where((jnp.asarray(self.df) > 1)[..., None], self.loc, jnp.nan)
        return jnp.broadcast_to(mean, self.batch_shape + self.event_shape)

    @property
    def variance(self) -> jax.Array:
        """Feature-wise variances, shape (..., D): ν/(ν−2) · scale², infinite for 1 < ν ≤ 2, NaN for ν ≤ 1."""
        df = self._finite_df()[..., None]
        finite = jnp.square(self.scale) * (df / (df - 2))
        variance = jnp.where(df > 2, finite, jnp.where(df > 1, jnp.inf, jnp.nan))
        return jnp.broadcast_to(variance, self.batch_shape + self.event_shape)

    def _finite_df(self) -> jax.Array:
        return finite_df(self.df, jnp.result_type(self.df, self.loc, self.scale, float))
