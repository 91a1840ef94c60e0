"""Which features of a posterior carry information about the image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

#: Variance over images of the posterior mean above which a feature is active.
ACTIVE = 0.01


class Activity(NamedTuple):
    """How a posterior's features vary over N images.

    Attributes:
        variance: over images, of each feature's posterior mean, in squared units of the embedding.
        uncertainty: mean over images of each feature's posterior variance.
        spectrum: eigenvalues of the covariance over images of the posterior means, largest first.
    """

    variance: Float64[np.ndarray, " D"]
    uncertainty: Float64[np.ndarray, " D"]
    spectrum: Float64[np.ndarray, " D"]

    @property
    def active(self) -> Bool[np.ndarray, " D"]:
        """Whether a feature is an active unit: `Var_x E_q[s_j] > 0.01`.

        Source: Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders (ICLR 2016), section 5.2.
        """
        return self.variance > ACTIVE

    @property
    def effective_rank(self) -> float:
        """The exponential of the entropy of the normalized spectrum: D where all directions vary alike, 1 for one.

        Source: Roy and Vetterli, The Effective Rank (2007), there of singular values; here of the covariance's
        eigenvalues.
        """
        share = self._shares()
        return float(np.exp(-(share * np.log(share, where=share > 0, out=np.zeros_like(share))).sum()))

    @property
    def participation(self) -> float:
        """The participation ratio `(Σ λ)² / Σ λ²`; between 1 and D like the effective rank, and at most that."""
        share = self._shares()
        return float(1 / (share**2).sum()) if share.any() else 0.0

    def _shares(self) -> Float64[np.ndarray, " D"]:
        total = self.spectrum.sum()
        return self.spectrum / total if total > 0 else np.zeros_like(self.spectrum)


def activity(mean: Float64[np.ndarray, "N D"], scale: Float64[np.ndarray, "N D"]) -> Activity:
    """How features vary over images.

    Args:
        mean: posterior means, of at least two images.
        scale: posterior standard deviations.
    """
    centred = mean - mean.mean(0)
    spectrum = np.zeros(mean.shape[1])
    values = np.linalg.svd(centred, compute_uv=False) ** 2 / (len(mean) - 1)
    spectrum[: len(values)] = values
    return Activity((centred**2).sum(0) / (len(mean) - 1), (scale**2).mean(0), spectrum)
