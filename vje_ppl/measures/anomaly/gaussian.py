"""A Gaussian of features, with Ledoit and Wolf's covariance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped
from scipy.linalg import pinvh
from sklearn.covariance import LedoitWolf
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
        fitted = _ledoit_wolf(features)
        return cls._of(fitted.location_, fitted.covariance_, fitted.precision_, device)

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
        fitted = _ledoit_wolf(mean)
        covariance = fitted.covariance_ + np.diag(scale.double().square().mean(0).numpy())
        return cls._of(fitted.location_, covariance, pinvh(covariance, check_finite=False), device)

    @classmethod
    def _of(cls, mean: np.ndarray, covariance: np.ndarray, precision: np.ndarray, device: torch.device) -> Gaussian:
        variances = np.linalg.eigvalsh(covariance)
        smallest = len(variances) * np.finfo(variances.dtype).eps * np.abs(variances).max()  # where pinvh cuts
        kept = variances[variances > smallest]
        log_normalizer = -0.5 * (len(kept) * math.log(2 * math.pi) + float(np.log(kept).sum()))
        return cls(torch.from_numpy(mean).to(device), torch.from_numpy(precision).to(device), log_normalizer)

    def squared_distance(self, features: Float[Tensor, "*batch D"]) -> Float64[Tensor, "*batch"]:
        """Squared Mahalanobis distance from the mean."""
        deviation = features.double() - self.mean
        return torch.linalg.vecdot(deviation @ self.precision, deviation).clamp_min(0)

    def log_prob(self, features: Float[Tensor, "*batch D"]) -> Float64[Tensor, "*batch"]:
        """Log density, in nats."""
        return self.log_normalizer - 0.5 * self.squared_distance(features)


def _ledoit_wolf(features: Shaped[Tensor, "M D"]) -> Any:
    if len(features) < 2:
        raise UserError(f"Distances to training features need at least 2 training images, got {len(features)}.")
    values = features.double().cpu().numpy()
    if not np.isfinite(values).all():
        raise UserError(
            f"The features of {(~np.isfinite(values)).any(1).sum()} of {len(values)} training images are not finite, "
            "so nothing can be compared with them; train with a lower optimizer.lr, or look closer with debug=true."
        )
    return LedoitWolf().fit(values)
