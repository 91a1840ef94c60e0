"""VICReg: invariance between views, variance of every feature, no covariance between features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from vje_ppl.methods.baseline import Baseline, Branch, mlp_head, whole_batch


class VICReg(Baseline):
    """Three terms on the projections p_v, (N, P), of two views:

        loss = λ mean (p_1 − p_2)² + μ ½ Σ_v mean_j max(0, 1 − sqrt(var_j p_v + 10⁻⁴)) + ν Σ_v 1/P Σ_{i≠j} cov_ij(p_v)²

    Variances and covariances are those of the whole batch, also where several processes share it.

    Args:
        encoder: maps views to embeddings, with its width as `dim`.
        projector: widths of the projector's layers; without layers, the loss is on z.
        invariance: λ.
        variance: μ.
        covariance: ν.
        norm: normalization of the projector, "batch" or "group".

    Raises:
        ValueError: for a weight that is not finite.

    Source: Bardes, Ponce and LeCun, "VICReg", ICLR 2022, equations 1 to 6. The means over features, and the half of
    the variance term, are those of the authors' code, which lightly follows.
    """

    min_batch_size: ClassVar[int] = 2

    def __init__(
        self,
        encoder: nn.Module,
        projector: Sequence[int],
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        norm: str = "batch",
    ) -> None:
        super().__init__(encoder)
        self.weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
        if not all(map(math.isfinite, self.weights.values())):
            given = ", ".join(f"{name}={one}" for name, one in self.weights.items())
            raise ValueError(f"VICReg expects finite weights, got {given}.")
        self.projector = mlp_head(self.dim, projector, norm)

    def branch(self, view: Float[Tensor, "N C H W"], z: Float[Tensor, "N D"]) -> Branch:
        """Return the projection, (N, P)."""
        return (self.projector(z),)

    def pair(self, one: Branch, other: Branch) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss, and its three terms, which add up to it."""
        from lightly.loss import vicreg_loss as lightly

        p_1, p_2 = whole_batch(*one), whole_batch(*other)
        terms = {
            "invariance": lightly.invariance_loss(p_1, p_2),
            "variance": 0.5 * (lightly.variance_loss(p_1) + lightly.variance_loss(p_2)),
            "covariance": lightly.covariance_loss(p_1) + lightly.covariance_loss(p_2),
        }
        weighted = {f"term/{name}": self.weights[name] * term for name, term in terms.items()}
        return weighted["term/invariance"] + weighted["term/variance"] + weighted["term/covariance"], weighted
