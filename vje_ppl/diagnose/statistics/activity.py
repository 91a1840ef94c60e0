"""Which features of a posterior carry information about the image: variances over images, and KL per feature."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from pyro.distributions import Independent, LowRankMultivariateNormal
from pyro.distributions.torch_distribution import ExpandedDistribution, TorchDistributionMixin
from torch import Tensor
from torch.distributions import Distribution, Normal, kl_divergence

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
    """Compute how features vary over images.

    Args:
        mean: posterior means, of at least two images.
        scale: posterior standard deviations.
    """
    centred = mean - mean.mean(0)
    spectrum = np.zeros(mean.shape[1])
    values = np.linalg.svd(centred, compute_uv=False) ** 2 / (len(mean) - 1)
    spectrum[: len(values)] = values
    return Activity((centred**2).sum(0) / (len(mean) - 1), (scale**2).mean(0), spectrum)


#: Nodes of the Gauss–Hermite rule where no closed form is registered.
NODES = 64


def feature_kl(q: TorchDistributionMixin, p: TorchDistributionMixin) -> Float64[Tensor, "N D"] | None:
    """KL of each feature's marginal: `KL(q_j ‖ p_j)` in nats, for Normal marginals q_j and independent features p_j.

    In closed form where one is registered, by Gauss–Hermite quadrature otherwise. Their sum is KL(q ‖ p) for a guide
    with independent features; a guide with correlations has the total correlation of q on top.

    Args:
        q: the guide's distribution, batch shape (N,), event shape (D,).
        p: the prior's, event shape (D,).

    Returns:
        None if it is not defined: the marginals of q are not Normal, as under a flow, or the features of p are not
            independent, as under a mixture or a joint Student-t.
    """
    marginals, prior = _normal_marginals(q), _independent_features(p)
    if marginals is None or prior is None:
        return None
    try:
        return kl_divergence(marginals, prior).double()
    except NotImplementedError:
        return _by_quadrature(marginals, prior).double()


def _normal_marginals(q: TorchDistributionMixin) -> Normal | None:
    q = _unwrapped(q)
    if isinstance(q, LowRankMultivariateNormal):
        return Normal(q.loc, q.stddev)
    if isinstance(q, Independent) and q.reinterpreted_batch_ndims == 1 and isinstance(q.base_dist, Normal):
        return Normal(q.base_dist.loc, q.base_dist.scale)
    return None


def _independent_features(p: TorchDistributionMixin) -> Distribution | None:
    p = _unwrapped(p)
    if isinstance(p, Independent) and p.reinterpreted_batch_ndims == 1 and not p.base_dist.event_shape:
        return _unwrapped(p.base_dist)
    return None


def _unwrapped(distribution: TorchDistributionMixin) -> TorchDistributionMixin:
    while isinstance(distribution, ExpandedDistribution):
        distribution = distribution.base_dist
    return distribution


def _by_quadrature(q: Normal, p: Distribution) -> Float[Tensor, "N D"]:
    """E_q[log q − log p], exact for a log p that is a polynomial of degree below 2 `NODES` in the feature."""
    nodes, weights = (torch.from_numpy(one).to(q.loc) for one in np.polynomial.hermite_e.hermegauss(NODES))
    values = q.loc + q.scale * nodes.view(-1, *[1] * q.loc.dim())
    expected = torch.tensordot(weights / math.sqrt(2 * math.pi), p.log_prob(values), dims=1)
    return -q.entropy() - expected
