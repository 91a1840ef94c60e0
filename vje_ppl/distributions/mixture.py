"""Mixtures of distributions of one family, at the cost of a matrix product where they are diagonal Normals."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, ClassVar

import torch
from pyro.distributions.torch_distribution import TorchDistribution, TorchDistributionMixin
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal, constraints

from vje_ppl.distributions.promoted import promoted


class Mixture(TorchDistribution):
    """K components of one family on R^D, with weights w = softmax(logits).

        log p(x) = log Σ_k w_k p_k(x)

    The density of `pyro.distributions.MixtureSameFamily`, which is slow in a plate: expanded, it repeats for each image
    everything that depends only on the components, and takes memory for several arrays of images × K × D numbers. Here
    the components are never expanded, and diagonal Normals take images × (D + K) numbers (see `_diagonal_normals`).
    Other components still take images × K × D, times their rank if they have one.

    Base measure: Lebesgue on R^D, over which it integrates to one if the components do.

    Args:
        logits: logarithms of the weights up to a constant, shape (K,).
        components: a distribution with batch shape (K,) and event shape (D,).
        batch_shape: of the mixture; () by default.

    Raises:
        ValueError: if the numbers of components and weights differ.

    Source: ours.
    """

    arg_constraints: ClassVar = {"logits": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = False

    def __init__(
        self,
        logits: Tensor,
        components: TorchDistributionMixin,
        batch_shape: torch.Size = torch.Size(),  # noqa: B008
        validate_args: bool | None = None,
    ) -> None:
        (logits,) = promoted(logits)
        if logits.dim() != 1 or components.batch_shape != logits.shape or len(components.event_shape) != 1:
            raise ValueError(
                f"Mixture expects logits of shape (K,) and components of batch shape (K,) and event shape (D,), got "
                f"{tuple(logits.shape)}, {tuple(components.batch_shape)} and {tuple(components.event_shape)}."
            )
        self.logits = logits
        self.components = components
        super().__init__(torch.Size(batch_shape), components.event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Mixture:
        """Return the same distribution with another batch shape; nothing is copied."""
        return Mixture(self.logits, self.components, torch.Size(batch_shape), validate_args=self._validate_args)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw a component, then from it; shape sample_shape + batch_shape + (D,). Draws all K on the way."""
        shape = torch.Size(sample_shape) + self.batch_shape
        chosen = Categorical(logits=self.logits).sample(shape)
        index = chosen[..., None, None].expand(*shape, 1, *self.event_shape)
        return self.components.sample(shape).gather(-2, index).squeeze(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density in nats of `value`, shape (..., D), over Lebesgue measure on R^D; shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        log_prob = torch.logsumexp(self.logits.log_softmax(-1) + _component_log_prob(self.components, value), -1)
        return log_prob.expand(torch.broadcast_shapes(value.shape[:-1], self.batch_shape))

    @property
    def mean(self) -> Tensor:
        """The mean, shape (..., D), where the components have one."""
        return (self._weights * self.components.mean).sum(-2).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Feature-wise variances, shape (..., D): within components, and between them."""
        mean = (self._weights * self.components.mean).sum(-2)
        second = self.components.variance + (self.components.mean - mean).square()
        return (self._weights * second).sum(-2).expand(self.batch_shape + self.event_shape)

    @property
    def _weights(self) -> Tensor:
        return self.logits.softmax(-1).unsqueeze(-1)


def _component_log_prob(components: TorchDistributionMixin, value: Tensor) -> Tensor:
    """Log density of values (..., D) under each component, shape (..., K)."""
    if isinstance(components, Independent) and isinstance(components.base_dist, Normal):
        return _diagonal_normals(components.base_dist, value)
    return components.log_prob(value.unsqueeze(-2))


def _diagonal_normals(normal: Normal, value: Tensor) -> Tensor:
    """Expand the squares, so that matrix products (..., D) × (D, K) do the work:

        Σ_j ((x_j − μ_kj) / σ_kj)² = Σ_j x_j²/σ_kj² − 2 Σ_j x_j μ_kj/σ_kj² + Σ_j μ_kj²/σ_kj²

    The terms cancel, which leaves a rounding error of about ε Σ_j x_j²/σ_kj². In float64 that is below what rounding x
    to float32 alone moves the result by, ε₃₂² Σ_j x_j²/σ_kj² and more; in float32 it would be too much.
    """
    dtype = reduce(torch.promote_types, (value.dtype, normal.loc.dtype, normal.scale.dtype))
    value, loc, scale = value.double(), normal.loc.double(), normal.scale.double()
    precision = scale.square().reciprocal()
    squares = value.square() @ precision.mT - 2 * value @ (loc * precision).mT + (loc.square() * precision).sum(-1)
    log_normalizer = scale.log().sum(-1) + 0.5 * loc.shape[-1] * math.log(2 * math.pi)
    return (-0.5 * squares - log_normalizer).to(dtype)
