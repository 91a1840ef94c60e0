"""Whitening: features without correlations and with equal variances over the training images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Shaped
from sklearn.covariance import EmpiricalCovariance
from torch import Tensor

#: Most training images for the covariance, evenly spaced; more would take memory and change little.
MOST = 50_000


@dataclass(frozen=True, eq=False)
class Whitening:
    """x ↦ (x − m) W, with W Wᵀ = Σ⁻¹ for mean m and covariance Σ of training features, all classes together.

    Cosine similarity then counts every direction alike, whatever its share of the variance; between two whitened
    features, the Euclidean distance is the Mahalanobis distance between the features. A direction without variance is
    left out, such as a pixel that is always black; W then has fewer columns, K ≤ D. Without any variance, the results
    are zero.

    Attributes:
        mean: m, (D,).
        matrix: W, (D, K).
        images: training images that it was fitted to.
        participation_ratio: (Σᵢ λᵢ)² / Σᵢ λᵢ² of the eigenvalues λ of Σ: over how many directions the variance is
            spread, from 1 to K; 0 without variance.
    """

    mean: Float64[Tensor, " D"]
    matrix: Float64[Tensor, "D K"]
    images: int
    participation_ratio: float

    @classmethod
    def of(cls, features: Shaped[Tensor, "M ..."]) -> Whitening:
        """Fit to features of M training images, flattened."""
        step = -(-len(features) // MOST)
        flat = features[::step].flatten(1).double().numpy()
        fitted = EmpiricalCovariance(store_precision=False).fit(flat)
        variance, directions = torch.linalg.eigh(torch.from_numpy(fitted.covariance_))
        seen = variance > variance[-1] * torch.finfo(torch.float32).eps
        variance, directions = variance[seen], directions[:, seen]
        mean = torch.from_numpy(fitted.location_)
        if not seen.any():
            return cls(mean, torch.zeros(len(mean), 1).double(), len(flat), 0.0)
        ratio = float(variance.sum() ** 2 / variance.square().sum())
        return cls(mean, directions * variance.rsqrt(), len(flat), ratio)

    def __call__(self, features: Shaped[Tensor, "N ..."]) -> Float[Tensor, "N K"]:
        """Whiten features of N images, flattened; float32."""
        return ((features.flatten(1).double() - self.mean) @ self.matrix).float()
