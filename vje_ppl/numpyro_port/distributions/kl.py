"""Kullback-Leibler divergences in closed form, looked up by registration. Twin of `vje_ppl.distributions.kl`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from numpyro.distributions import Distribution, Independent, LowRankMultivariateNormal, Normal, kl_divergence
from numpyro.distributions.distribution import ExpandedDistribution


def closed_form_kl(q: Distribution, p: Distribution) -> jax.Array | None:
    """KL(q ‖ p) in nats, one number per element of the batch shape, or None where no closed form is registered.

    Masks and expansions are unwrapped by NumPyro. Registered are what NumPyro registers, and below what it lacks.
    Register your own with `numpyro.distributions.kl.kl_divergence.register`.

    Args:
        q: the guide's distribution.
        p: the model's, of the same event shape.

    Returns:
        Shape: the broadcast batch shape of q and p; 0 where a mask leaves an element out.
    """
    batch_shape = jnp.broadcast_shapes(q.batch_shape, p.batch_shape)
    try:
        return jnp.broadcast_to(kl_divergence(q, p), batch_shape)
    except NotImplementedError:
        return None


@kl_divergence.register(LowRankMultivariateNormal, Independent)
def _kl_low_rank_independent(q: LowRankMultivariateNormal, p: Independent) -> jax.Array:
    """KL of a low-rank-plus-diagonal Normal from a diagonal one: only q's diagonal and determinant are needed."""
    base = p.base_dist.base_dist if isinstance(p.base_dist, ExpandedDistribution) else p.base_dist
    if not (isinstance(base, Normal) and p.reinterpreted_batch_ndims == 1):
        raise NotImplementedError
    shape = jnp.broadcast_shapes(q.batch_shape, p.batch_shape) + q.event_shape
    variance = jnp.broadcast_to(jnp.square(base.scale), shape)
    mahalanobis = (jnp.square(q.loc - base.loc) + q.variance) / variance
    # log det by the matrix determinant lemma: |W Wᵀ + diag d| = |I + Wᵀ diag(1/d) W| |diag d|.
    capacitance_diagonal = jnp.diagonal(q._capacitance_tril, axis1=-2, axis2=-1)
    log_det = 2 * jnp.log(capacitance_diagonal).sum(-1) + jnp.log(q.cov_diag).sum(-1)
    return 0.5 * ((mahalanobis - 1 + jnp.log(variance)).sum(-1) - log_det)
