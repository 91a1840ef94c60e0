"""Kullback-Leibler divergences in closed form, looked up by registration and through wrappers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pyro.distributions import Independent, LowRankMultivariateNormal
from pyro.distributions.torch_distribution import ExpandedDistribution, MaskedDistribution
from torch import Tensor
from torch.distributions import Distribution, Normal, kl_divergence, register_kl


def closed_form_kl(q: Distribution, p: Distribution) -> Tensor | None:
    """Return KL(q ‖ p) in nats, one number per element of the batch shape; None if no closed form is registered.

    Masks and expansions are unwrapped; independent dimensions are matched by Pyro. Where masks of q and p differ, this
    is the divergence of what neither leaves out, which is not `E[log q − log p]` under masks. Registered are what torch
    and Pyro register, and below what they lack. Register your own with `torch.distributions.register_kl`.

    Args:
        q: the guide's distribution.
        p: the model's, of the same event shape.

    Returns:
        Shape: the broadcast batch shape of q and p; 0 where a mask leaves an element out.
    """
    batch_shape = torch.broadcast_shapes(q.batch_shape, p.batch_shape)
    q, q_mask = without_masks(q)
    p, p_mask = without_masks(p)
    if not _same_masks_within(q, p):
        return None
    try:
        kl = kl_divergence(q, p).expand(batch_shape)
    except NotImplementedError:
        return None
    for mask in (*q_mask, *p_mask):
        kl = torch.where(torch.as_tensor(mask, device=kl.device), kl, 0.0)
    return kl


def without_masks(distribution: Distribution) -> tuple[Distribution, list[bool | Tensor]]:
    """Strip expansions and masks from a distribution; return it and the masks, which broadcast to its batch shape."""
    masks: list[bool | Tensor] = []
    while isinstance(distribution, MaskedDistribution | ExpandedDistribution):
        if isinstance(distribution, MaskedDistribution):
            masks.append(distribution._mask)
        distribution = distribution.base_dist
    return distribution, masks


def same_masks(one: Sequence[bool | Tensor | None], other: Sequence[bool | Tensor | None]) -> bool:
    """Return whether masks are known to be the same, one by one, without looking at any tensor's numbers."""
    return len(one) == len(other) and all(map(_same_mask, one, other))


def _same_mask(one: bool | Tensor | None, other: bool | Tensor | None) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.is_set_to(other)  # expanding a mask makes another tensor of the same memory
    return one is other


def _same_masks_within(q: Distribution, p: Distribution) -> bool:
    """Return whether masks of single features are the same, since Pyro's divergence covers what both keep."""
    masks: list[list[bool | Tensor]] = []
    for distribution in (q, p):
        while isinstance(distribution, Independent):
            distribution = distribution.base_dist
        masks.append(without_masks(distribution)[1])
    return same_masks(*masks)


@register_kl(LowRankMultivariateNormal, Independent)
def _kl_low_rank_independent(q: LowRankMultivariateNormal, p: Independent) -> Tensor:
    """Return the KL of a low-rank-plus-diagonal Normal from independent features p_j, if KL(Normal ‖ p_j) is known:

        KL(q ‖ Π_j p_j) = Σ_j KL(q_j ‖ p_j) + ½ (Σ_j log v_j − log |Σ|)

    with the marginals q_j = Normal(μ_j, v_j) of q; the second term is their total correlation under q.
    """
    if p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    marginals = Normal(q.loc, q.stddev)
    # log det by the matrix determinant lemma: |W Wᵀ + diag d| = |I + Wᵀ diag(1/d) W| |diag d|.
    log_det = 2 * q._capacitance_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1) + q._unbroadcasted_cov_diag.log().sum(-1)
    total_correlation = marginals.scale.log().sum(-1) - 0.5 * log_det
    return kl_divergence(marginals, p.base_dist).sum(-1) + total_correlation
