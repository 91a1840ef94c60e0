"""RankMe and LiDAR: the quality of embeddings without labels, as a smooth count of their directions."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

#: ε, which both papers add to the shares.
EPSILON = 1e-7

#: δ, added to the diagonal of LiDAR's covariance within images; in squared units of the embedding. The paper asks for a
#: small number; this is the default of the library stable-pretraining.
RIDGE = 1e-4


def rankme(embeddings: Float[Tensor, "N D"]) -> float:
    """RankMe: exp(−Σ_k p_k log p_k), with p_k = σ_k / Σ_j σ_j + ε for the singular values σ of the embeddings.

    Args:
        embeddings: one per image, as they are: not centred, not normalized.

    Returns:
        From about 1, where all embeddings have one direction, to min(N, D), where no direction is preferred; 0 if all
        embeddings are zero, NaN if one is not finite.

    Source: Garrido, Balestriero, Najman and LeCun, "RankMe: Assessing the Downstream Performance of Pretrained
    Self-Supervised Representations by Their Rank", ICML 2023, equations 1 and 2.
    """
    z = embeddings.double()
    if not torch.isfinite(z).all():
        return float("nan")
    gram = z.T @ z if len(z) > z.shape[1] else z @ z.T
    return _smooth_rank(torch.linalg.eigvalsh(gram).clamp(min=0).sqrt())


def lidar(embeddings: Float[Tensor, "N q D"], ridge: float = RIDGE) -> float:
    """LiDAR: the smooth rank exp(−Σ_k p_k log p_k) of Σ_w^(−1/2) Σ_b Σ_w^(−1/2), p_k = λ_k / Σ_j λ_j + ε.

    Each image is a class, and its views are the members: with means μ_i over the views of an image and μ over all,

        Σ_b = 1/N Σ_i (μ_i − μ)(μ_i − μ)ᵀ,    Σ_w = 1/(N (q − 1)) Σ_iv (z_iv − μ_i)(z_iv − μ_i)ᵀ + δ I

    and λ are the eigenvalues, the variances between images in units of those within, which are estimated without bias,
    also from two views.

    Args:
        embeddings: of q ≥ 2 random views of each of N images.
        ridge: δ, positive.

    Returns:
        From about 1 to min(N − 1, D), the more the better; 0 if all images have the same mean, NaN if an embedding is
        not finite.

    Source: Thilak, Huang, Saremi, Dinh, Goh, Nakkiran, Susskind and Littwin, "LiDAR: Sensing Linear Probing Performance
    in Joint Embedding SSL Architectures", ICLR 2024, section 4; the denominator q − 1 as in stable-pretraining. The
    paper takes 50 views of 1,000 images.
    """
    z = embeddings.double()
    if not torch.isfinite(z).all():
        return float("nan")
    means = z.mean(1)
    between, within = means - means.mean(0), (z - means[:, None]).flatten(0, 1)
    identity = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    root = torch.linalg.cholesky(within.T @ within / (len(means) * (z.shape[1] - 1)) + ridge * identity)
    whitened = torch.linalg.solve_triangular(root, between.T, upper=False)  # D × N
    return _smooth_rank(torch.linalg.eigvalsh(whitened @ whitened.T / len(means)).clamp(min=0))


def _smooth_rank(values: Float64[Tensor, " K"]) -> float:
    total = values.sum()
    if total == 0:
        return 0.0
    shares = values / total + EPSILON
    return float(torch.exp(-(shares * shares.log()).sum()))
