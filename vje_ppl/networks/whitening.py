"""A layer that takes correlations out of embeddings, and gives each feature a mean of zero and a variance of one."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

#: Share of a group's mean variance that is added to each of its variances, so that the covariance can be inverted in
#: float32. Ours.
SHRINKAGE = 1e-3

#: Least variance that is added. Ours.
LEAST_VARIANCE = 1e-8


class WhiteningLayer(nn.Module):
    """z = L⁻¹ (h − m) for embeddings h with mean m and covariance Σ = L Lᵀ, within groups of features.

    In training, m and Σ are those of the batch, and gradients flow through them, as in batch normalization, of which
    this is the form that takes out correlations too. In evaluation they are running averages.

    A batch needs several times as many images as a group has features: from N images with N − 1 features, whitening
    makes the corners of a simplex, whatever the images are.

    Args:
        dim: embedding width D.
        group: features of a group; divides D. Features of different groups may stay correlated.
        momentum: weight of a batch in the running averages.

    Raises:
        ValueError: if the group does not divide D.

    Source: Huang, Yang, Lang and Deng, Decorrelated Batch Normalization (2018), for batches and groups; Ermolov,
    Siarohin, Sangineto and Sebe, Whitening for Self-Supervised Representation Learning (2021), for the Cholesky factor.
    """

    mean: Tensor
    covariance: Tensor
    matrix: Tensor

    def __init__(self, dim: int, group: int, momentum: float = 0.1) -> None:
        super().__init__()
        if group < 1 or dim % group:
            raise ValueError(
                f"WhiteningLayer expects a group that divides the {dim} features of an embedding, got {group}; give "
                f"one of {', '.join(str(one) for one in range(2, dim + 1) if dim % one == 0)}."
            )
        self.group, self.momentum = group, momentum
        groups, identity = dim // group, torch.eye(group)
        self.register_buffer("mean", torch.zeros(groups, group))
        self.register_buffer("covariance", identity.repeat(groups, 1, 1))
        self.register_buffer("matrix", identity.repeat(groups, 1, 1))  # L⁻¹ of the running averages

    def forward(self, embedding: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Return whitened embeddings, shape (N, D), in at least float32."""
        with torch.autocast(embedding.device.type, enabled=False):
            rows = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
            grouped = rows.unflatten(-1, (-1, self.group))  # N, groups, features
            mean, matrix = self.mean, self.matrix
            if self.training:
                mean = grouped.mean(0)
                centred = (grouped - mean).transpose(0, 1)  # groups, N, features
                covariance = centred.mT @ centred / max(1, len(rows) - 1)
                matrix = _inverse_root(covariance)
                self._follow(mean.detach(), covariance.detach())
            return torch.einsum("gij,ngj->ngi", matrix.to(rows.dtype), grouped - mean).flatten(1)

    @torch.no_grad()
    def _follow(self, mean: Tensor, covariance: Tensor) -> None:
        """Move the running averages towards a batch's."""
        self.mean.lerp_(mean.to(self.mean.dtype), self.momentum)
        self.covariance.lerp_(covariance.to(self.mean.dtype), self.momentum)
        self.matrix.copy_(_inverse_root(self.covariance))


def _inverse_root(covariance: Float[Tensor, "groups K K"]) -> Float[Tensor, "groups K K"]:
    """Return L⁻¹ of each group's covariance L Lᵀ, after some shrinkage; nothing waits for the device."""
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    variance = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    root, _ = torch.linalg.cholesky_ex(covariance + (SHRINKAGE * variance + LEAST_VARIANCE) * identity)
    return torch.linalg.solve_triangular(root, identity.expand_as(root), upper=False)
