"""The default loss written by hand in plain torch: the yardstick for what the probabilistic program costs."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def fused_loss(
    mean: Float[Tensor, "2 N D"], scale: Float[Tensor, "2 N D"], target: Float[Tensor, "2 N D"], beta: float, df: float
) -> Float[Tensor, ""]:
    """Standard normal prior, joint polar Student-t with tied scales and unit radius scale, one particle, two views.

    Both directions go through in one batch; the sum of log-scales is shared by likelihood and KL; each square is a dot
    product.

    Args:
        mean: posterior means of both views, shape (2, N, D).
        scale: posterior standard deviations.
        target: the other view's embeddings, detached.
        beta: weight of the KL.
        df: degrees of freedom of both sites.

    Returns:
        Minus the objective in nats per dimension.
    """
    dim = mean.shape[-1]
    latent = mean + scale * torch.randn_like(mean)
    radius = torch.linalg.vector_norm(latent, dim=-1)
    target_radius = torch.linalg.vector_norm(target, dim=-1)
    residual = (latent / radius.unsqueeze(-1) - target / target_radius.unsqueeze(-1)) / scale
    log_scale = scale.log().sum(-1)
    direction = (
        _log_normalizer(df, dim)
        - log_scale
        - 0.5 * (df + dim) * torch.log1p(torch.linalg.vecdot(residual, residual) / df)
    )
    on_radius = _log_normalizer(df, 1) - 0.5 * (df + 1) * torch.log1p((target_radius - radius).square() / df)
    kl = 0.5 * (torch.linalg.vecdot(scale, scale) + torch.linalg.vecdot(mean, mean) - dim) - log_scale
    return -(direction + on_radius - beta * kl).mean() / dim


def _log_normalizer(df: float, dim: int) -> float:
    return math.lgamma((df + dim) / 2) - math.lgamma(df / 2) - 0.5 * dim * math.log(math.pi * df)
