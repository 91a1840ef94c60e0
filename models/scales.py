"""The likelihood's feature-wise scale as a function of the guide's."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from pyro.nn import PyroModule
from torch import Tensor, nn

from vje_ppl.models.isotropic import geometric_mean


class Tied(PyroModule):
    """The likelihood's scale is the posterior's: `scale = σ_a`.

    Args:
        detach: whether the likelihood takes σ_a as a constant, so that only the KL term trains it.

    Source: the shared variances are the paper's; `detach` is ours, for ablation.
    """

    def __init__(self, detach: bool = False) -> None:
        super().__init__()
        self.detach = detach

    def forward(self, posterior_scale: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Return the posterior's scale, shape (..., D), in units of the embedding."""
        return posterior_scale.detach() if self.detach else posterior_scale


class Isotropic(PyroModule):
    """The likelihood has one scale per image, the geometric mean of the posterior's: `scale_j = exp(1/D Σ_k log σ_k)`.

    Of the isotropic scale matrices it is the one with the determinant of diag(σ²), so that the normalizer of a Normal
    or Student-t is the same as with `Tied`, and only the weights of the features change.

    Source: ours, the ablation of feature-wise scales.
    """

    def forward(self, posterior_scale: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Return the geometric mean of the posterior's scale, the same for all features; shape (..., D)."""
        return geometric_mean(posterior_scale).unsqueeze(-1).expand_as(posterior_scale)


class Free(PyroModule):
    """The likelihood has its own scale: one learned number per feature, the same for all images.

    Args:
        dim: embedding width D.
        init: initial scale, positive.

    Raises:
        ValueError: if the initial scale is not positive and finite.

    Source: ours, the ablation of shared variances.
    """

    def __init__(self, dim: int, init: float = 1.0) -> None:
        super().__init__()
        if not 0 < init < math.inf:
            raise ValueError(
                f"Free expects a positive initial scale, got {init}; it must be finite, and 1 is the default."
            )
        # A plain parameter, since a PyroParam takes the value that an earlier model left in Pyro's global store.
        self.log_value = nn.Parameter(torch.full((dim,), math.log(init)))

    def forward(self, posterior_scale: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Return the learned scale, expanded to the shape (..., D) of the posterior's, which is not used."""
        return self.log_value.exp().expand_as(posterior_scale)
