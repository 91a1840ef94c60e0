"""The diagonal Normal guide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from vje_ppl.networks.inference_network import InferenceNetwork
from vje_ppl.program.amortized import AmortizedGuide
from vje_ppl.program.bounded_scale import BoundedScale


@dataclass(frozen=True)
class DiagonalNormalPosterior:
    """`q(s) = Normal(mean, diag(scale²))`, one per image.

    Attributes:
        mean: shape (..., N, D), in units of the embedding.
        scale: standard deviations, positive, shape (..., N, D); the likelihood shares them.
    """

    mean: Float[Tensor, "*batch N D"]
    scale: Float[Tensor, "*batch N D"]

    def distribution(self) -> TorchDistributionMixin:
        """Return the posterior, batch shape (..., N), event shape (D,)."""
        return dist.Normal(self.mean, self.scale).to_event(1)

    def moments(self) -> tuple[Float[Tensor, "*batch N D"], Float[Tensor, "*batch N D"]]:
        """Return the mean and standard deviation of each feature, exact; shapes (..., N, D)."""
        return self.mean, self.scale


class DiagonalNormal(AmortizedGuide):
    """`q(s) = Normal(μ, diag(σ²))` with `(μ, log σ²) = g(z)`, where z is the encoder's embedding of a view.

    log σ² is bounded smoothly to an interval (see `BoundedScale`).

    Args:
        dim: embedding width D.
        encoder: maps views (N, C, H, W) to embeddings (N, D); `None` if the views are embeddings already.
        network: builds the inference network g, given its numbers of inputs and outputs, D and 2 D.
        log_variance_bounds: the lower and the upper bound of log σ², in nats.
        whiten: features of each group in which embeddings are whitened (see `AmortizedGuide`); `None`: none are.

    Source: the paper, for the amortized Gaussian with feature-wise variances; the bounds and the network's size are
    ours.
    """

    def __init__(
        self,
        dim: int,
        encoder: nn.Module | None = None,
        network: Callable[[int, int], nn.Module] = InferenceNetwork,
        log_variance_bounds: Sequence[float] = (-8.0, 4.0),
        whiten: int | None = None,
    ) -> None:
        super().__init__(dim, encoder, whiten)
        self.network = network(dim, 2 * dim)
        self.bounded_scale = BoundedScale(*log_variance_bounds)

    def infer(self, embedding: Float[Tensor, "N D"]) -> DiagonalNormalPosterior:
        """Return the posterior of each of N embeddings: mean and scale, each (N, D)."""
        mean, raw = self.network_output(embedding).chunk(2, dim=-1)
        return DiagonalNormalPosterior(mean, self.bounded_scale(raw))

    def forward(
        self, posterior: DiagonalNormalPosterior, target: Float[Tensor, "*batch N D"] | None = None
    ) -> Float[Tensor, "*draws N D"]:
        """Declare the site "latent", event shape (D,), in plate "images"; the target is ignored."""
        with pyro.plate("images", posterior.mean.shape[-2], dim=-1):
            return pyro.sample("latent", posterior.distribution())
