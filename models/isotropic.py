"""From a scale per feature to a scale per image."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def geometric_mean(scale: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch"]:
    """Return the isotropic scale with the same determinant: `σ̄ = exp(1/D Σ_j log σ_j)`, so that σ̄^D = Π_j σ_j.

    A Normal or Student-t with scale matrix σ̄² I has the normalizer of the one with diag(σ²). Each log σ_j gets the
    same gradient, 1/D of that of log σ̄.

    Args:
        scale: standard deviations σ, positive, shape (..., D).

    Returns:
        σ̄, in the unit of the scales, shape (...).

    Source: ours.
    """
    return scale.log().mean(-1).exp()
