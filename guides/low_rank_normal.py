"""The low-rank Normal guide: a few directions of correlation beside the diagonal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vje_ppl.networks.inference_network import InferenceNetwork
from vje_ppl.program.amortized import AmortizedGuide
from vje_ppl.program.bounded_scale import BoundedScale

#: The largest norm of a feature's loadings. There, 1 % of the feature's variance is its own (d²), so the covariance
#: stays invertible in float32 and no loading overflows. Ours.
LARGEST_LOADING = 99**0.5

#: The factor from the network's output to `raw`; small, so that training starts close to the diagonal Normal. Ours.
LOADING_PER_OUTPUT = 0.3


@dataclass(frozen=True)
class LowRankNormalPosterior:
    """`q(s) = Normal(mean, W Wᵀ + diag(d²))`, one per image, with W and d from scale and loadings:

        W_j = scale_j w_j / sqrt(1 + ‖w_j‖²),    d_j = scale_j / sqrt(1 + ‖w_j‖²)

    so that `scale_j = sqrt(‖W_j‖² + d_j²)`, the marginal standard deviation, for any loadings. The correlation of
    features j and k is `w_j·w_k / sqrt((1 + ‖w_j‖²)(1 + ‖w_k‖²))`.

    Attributes:
        mean: shape (..., N, D), in units of the embedding.
        scale: marginal standard deviations, positive, shape (..., N, D); the likelihood shares them.
        loadings: w, the rows of W in units of d, shape (..., N, D, R); any finite values.
    """

    mean: Float[Tensor, "*batch N D"]
    scale: Float[Tensor, "*batch N D"]
    loadings: Float[Tensor, "*batch N D R"]

    def distribution(self) -> TorchDistributionMixin:
        """Return the posterior, batch shape (..., N), event shape (D,)."""
        # A matrix is factorized, in float32.
        with torch.autocast(self.mean.device.type, enabled=False), _UncheckedFactors():
            own_scale = self.scale * (1 + self.loadings.square().sum(-1)).rsqrt()
            return dist.LowRankMultivariateNormal(
                self.mean, own_scale.unsqueeze(-1) * self.loadings, own_scale.square()
            )

    def moments(self) -> tuple[Float[Tensor, "*batch N D"], Float[Tensor, "*batch N D"]]:
        """Return the mean and standard deviation of each feature, exact; shapes (..., N, D)."""
        return self.mean, self.scale


class _UncheckedFactors(TorchFunctionMode):
    """Cholesky factors without a check, for which a GPU would make the CPU wait.

    The matrix here, I + Wᵀ W in units of d, is positive definite unless an embedding is not finite. Training finds that
    by itself, and can skip the step.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.linalg.cholesky:
            return torch.linalg.cholesky_ex(*args, **(kwargs or {})).L
        return func(*args, **(kwargs or {}))


class LowRankNormal(AmortizedGuide):
    """`q(s) = Normal(μ, W Wᵀ + diag(d²))` with W of shape (D, R), R small, and `(μ, log σ², w) = g(z)`.

    The network outputs the marginal variances σ² = diag(W Wᵀ) + d², which the likelihood shares, and separately the
    loadings w = W/d (see `LowRankNormalPosterior`). Correlations and scales are therefore independent parameters, and
    the bounds of log σ² have the same meaning as for the diagonal Normal, which is the case w = 0. The norm of a
    feature's loadings is bounded smoothly: `w = raw / sqrt(1 + ‖raw‖²/c²)` with 1 + c² = 100, so d² ≥ σ²/(1 + c²). Here
    `raw` is 0.3 times the network's output.

    The KL to a Normal prior with independent features has a closed form.

    Args:
        dim: embedding width D.
        encoder: maps views (N, C, H, W) to embeddings (N, D); `None` if the views are embeddings already.
        network: builds the inference network g, given its numbers of inputs and outputs, D and (2 + R) D.
        rank: R, at least 1 and at most D.
        log_variance_bounds: the lower and the upper bound of log σ², in nats.
        whiten: features of each group in which embeddings are whitened (see `AmortizedGuide`); `None`: none are.

    Raises:
        ValueError: for a rank below 1 or above D.

    Source: a Normal with a low-rank plus diagonal covariance as variational posterior: Rezende, Mohamed and Wierstra,
    Stochastic Backpropagation and Approximate Inference in Deep Generative Models (2014), at rank one;
    Ong, Nott and Smith, Gaussian Variational Approximation with a Factor Covariance Structure (2018). The
    parametrization by marginal variances and its bounds: ours.
    """

    def __init__(
        self,
        dim: int,
        encoder: nn.Module | None = None,
        network: Callable[[int, int], nn.Module] = InferenceNetwork,
        rank: int = 4,
        log_variance_bounds: Sequence[float] = (-8.0, 4.0),
        whiten: int | None = None,
    ) -> None:
        super().__init__(dim, encoder, whiten)
        if not 1 <= rank <= dim:
            raise ValueError(
                f"LowRankNormal expects a rank between 1 and the embedding's width {dim}, got {rank}; give "
                "guide.rank=..., or guide=diagonal_normal for no correlation."
            )
        self.rank = rank
        self.network = network(dim, (2 + rank) * dim)
        self.bounded_scale = BoundedScale(*log_variance_bounds)

    def infer(self, embedding: Float[Tensor, "N D"]) -> LowRankNormalPosterior:
        """Return the posterior of each of N embeddings: mean and scale (N, D), loadings (N, D, R)."""
        mean, raw, raw_loadings = self.network_output(embedding).tensor_split((self.dim, 2 * self.dim), dim=-1)
        raw_loadings = LOADING_PER_OUTPUT * raw_loadings.unflatten(-1, (self.dim, self.rank))
        norm = torch.linalg.vector_norm(raw_loadings / LARGEST_LOADING, dim=-1, keepdim=True)
        return LowRankNormalPosterior(mean, self.bounded_scale(raw), raw_loadings * (1 + norm.square()).rsqrt())

    def forward(
        self, posterior: LowRankNormalPosterior, target: Float[Tensor, "*batch N D"] | None = None
    ) -> Float[Tensor, "*draws N D"]:
        """Declare the site "latent", event shape (D,), in plate "images"; the target is ignored."""
        with pyro.plate("images", posterior.mean.shape[-2], dim=-1):
            return pyro.sample("latent", posterior.distribution())
