"""A Gaussian of features, with Ledoit and Wolf's covariance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped
from scipy.linalg import lapack
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from vje_ppl.errors import UserError


@dataclass(frozen=True, eq=False)
class Gaussian:
    """`Normal(mean, covariance)` on R^D, in float64.

    A covariance without full rank, as that of identical features, counts in the directions that have variance: with
    its pseudo-inverse and pseudo-determinant.

    Attributes:
        mean: shape (D,).
        precision: the covariance's inverse, shape (D, D).
        log_normalizer: log of the density at the mean, in nats.

    Source: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004.
    """

    mean: Float64[Tensor, " D"]
    precision: Float64[Tensor, "D D"]
    log_normalizer: float

    @classmethod
    def fitted(cls, features: Shaped[Tensor, "M D"], device: torch.device) -> Gaussian:
        """Fit mean and Ledoit and Wolf's covariance to M images' features.

        Raises:
            UserError: for fewer than two images, or features that are not finite.
        """
        return cls._of(*_ledoit_wolf(features), device)

    @classmethod
    def of_posteriors(cls, mean: Float[Tensor, "M D"], scale: Float[Tensor, "M D"], device: torch.device) -> Gaussian:
        """Fit the mixture of M images' posteriors, by its moments.

        Its mean is that of the posterior means; its covariance is Ledoit and Wolf's of the posterior means, plus the
        mean of the posteriors' variances on the diagonal.

        Args:
            mean: posterior means.
            scale: posterior standard deviations.
            device: where densities are computed.

        Raises:
            UserError: for fewer than two images, or moments that are not finite.
        """
        centre, covariance = _ledoit_wolf(mean)
        return cls._of(centre, covariance + np.diag(scale.double().square().mean(0).numpy()), device)

    @classmethod
    def _of(cls, mean: np.ndarray, covariance: np.ndarray, device: torch.device) -> Gaussian:
        precision, log_determinant, rank = inverse(covariance)
        log_normalizer = -0.5 * (rank * math.log(2 * math.pi) + log_determinant)
        return cls(torch.from_numpy(mean).to(device), torch.from_numpy(precision).to(device), log_normalizer)

    def squared_distance(self, features: Float[Tensor, "*batch D"]) -> Float64[Tensor, "*batch"]:
        """Squared Mahalanobis distance from the mean."""
        deviation = features.double() - self.mean
        return torch.linalg.vecdot(deviation @ self.precision, deviation).clamp_min(0)

    def log_prob(self, features: Float[Tensor, "*batch D"]) -> Float64[Tensor, "*batch"]:
        """Log density, in nats."""
        return self.log_normalizer - 0.5 * self.squared_distance(features)


def inverse(covariance: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Return a covariance's pseudo-inverse, the log of its pseudo-determinant, and its rank.

    A matrix of full rank takes a Cholesky factor, which for raw pixels is many times as fast as eigenvectors.
    """
    cut = len(covariance) * np.finfo(covariance.dtype).eps  # relative to the largest variance
    factor, failed = lapack.dpotrf(covariance, lower=True)
    if not failed and lapack.dpocon(factor, np.abs(covariance).sum(0).max(), uplo="L")[0] > cut:
        lower = lapack.dpotri(factor, lower=True)[0]
        log_determinant = 2 * float(np.log(factor.diagonal()).sum())
        return np.tril(lower) + np.tril(lower, -1).T, log_determinant, len(covariance)
    variances, directions = np.linalg.eigh(covariance)
    kept = variances > cut * np.abs(variances).max()
    variances, directions = variances[kept], directions[:, kept]
    return (directions / variances) @ directions.T, float(np.log(variances).sum()), len(variances)


def _ledoit_wolf(features: Shaped[Tensor, "M D"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and Ledoit and Wolf's covariance of M images' features."""
    if len(features) < 2:
        raise UserError(f"Distances to training features need at least 2 training images, got {len(features)}.")
    values = features.double().cpu().numpy()
    if not np.isfinite(values).all():
        raise UserError(
            f"The features of {(~np.isfinite(values)).any(1).sum()} of {len(values)} training images are not finite, "
            "so nothing can be compared with them; train with a lower optimizer.lr, or look closer with debug=true."
        )
    mean = values.mean(0)
    return mean, ledoit_wolf(values - mean, assume_centered=True)[0]
