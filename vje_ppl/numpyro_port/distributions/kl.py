"""Kullback-Leibler divergences in closed form, found in a registry. Twin of `vje_ppl.distributions.kl`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf
from numpyro.distributions import (
    Distribution,
    ExpandedDistribution,
    Independent,
    Laplace,
    LowRankMultivariateNormal,
    MaskedDistribution,
    Normal,
    kl_divergence,
)


def closed_form_kl(q: Distribution, p: Distribution) -> jax.Array | None:
    """Return KL(q ‖ p) in nats, one number per element of the batch shape; None if no closed form is registered.

    Differs from its twin: closed forms are registered with `numpyro.distributions.kl.kl_divergence.register`.
    """
    batch_shape = jnp.broadcast_shapes(q.batch_shape, p.batch_shape)
    q, q_mask = without_masks(q)
    p, p_mask = without_masks(p)
    if not _same_masks_within(q, p):
        return None
    try:
        kl = jnp.broadcast_to(kl_divergence(q, p), batch_shape)
    except NotImplementedError:
        return None
    for mask in (*q_mask, *p_mask):
        kl = jnp.where(mask, kl, 0.0)
    return kl


def without_masks(distribution: Distribution) -> tuple[Distribution, list[Any]]:
    """Strip expansions and masks from a distribution; return it and the masks, which broadcast to its batch shape."""
    masks: list[Any] = []
    while isinstance(distribution, MaskedDistribution | ExpandedDistribution):
        if isinstance(distribution, MaskedDistribution):
            masks.append(distribution._mask)
        distribution = distribution.base_dist
    return distribution, masks


def same_masks(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Return whether masks are known to be equal; under a transformation of JAX, only identical objects are."""
    return len(one) == len(other) and all(map(_same_mask, one, other))


def _same_mask(one: Any, other: Any) -> bool:
    if isinstance(one, jax.core.Tracer) or isinstance(other, jax.core.Tracer):
        return one is other
    return np.array_equal(one, other)


def _same_masks_within(q: Distribution, p: Distribution) -> bool:
    """Return whether the masks of single features are equal; NumPyro's divergence covers what both keep."""
    masks: list[list[Any]] = []
    for distribution in (q, p):
        while isinstance(distribution, Independent):
            distribution = distribution.base_dist
        masks.append(without_masks(distribution)[1])
    return same_masks(*masks)


@kl_divergence.register(LowRankMultivariateNormal, Independent)
def _kl_low_rank_independent(q: LowRankMultivariateNormal, p: Independent) -> jax.Array:
    """Return the KL of a low-rank-plus-diagonal Normal from independent features p_j, if KL(Normal ‖ p_j) is known:

        KL(q ‖ Π_j p_j) = Σ_j KL(q_j ‖ p_j) + ½ (Σ_j log v_j − log |Σ|)

    with the marginals q_j = Normal(μ_j, v_j) of q; the second term is their total correlation under q.
    """
    if p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    marginals = Normal(q.loc, jnp.sqrt(q.variance))
    # log det by the matrix determinant lemma: |W Wᵀ + diag d| = |I + Wᵀ diag(1/d) W| |diag d|.
    capacitance_diagonal = jnp.diagonal(q._capacitance_tril, axis1=-2, axis2=-1)
    log_det = 2 * jnp.log(capacitance_diagonal).sum(-1) + jnp.log(q.cov_diag).sum(-1)
    total_correlation = jnp.log(marginals.scale).sum(-1) - 0.5 * log_det
    return kl_divergence(marginals, p.base_dist).sum(-1) + total_correlation


@kl_divergence.register(Normal, Laplace)
def _kl_normal_laplace(q: Normal, p: Laplace) -> jax.Array:
    """Return the KL of a Normal from a Laplace, which torch has and NumPyro lacks.

        log(b/σ) + [σ sqrt(2/π) exp(−t²/2) + d erf(t/√2)] / b − ½ (1 + log(π/2)),    d = μ − loc, t = d/σ

    The bracket is the mean of |s − loc| under q.
    """
    difference = q.loc - p.loc
    standardized = difference / q.scale
    mean_distance = q.scale * math.sqrt(2 / math.pi) * jnp.exp(-0.5 * jnp.square(standardized))
    mean_distance = mean_distance + difference * erf(standardized * math.sqrt(0.5))
    return jnp.log(p.scale / q.scale) + mean_distance / p.scale - 0.5 * (1 + math.log(math.pi / 2))
