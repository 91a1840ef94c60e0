"""Barlow Twins: the cross-correlation between the features of two views should be the identity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from vje_ppl.methods.baseline import Baseline, Branch, mlp_head, whole_batch


class BarlowTwins(Baseline):
    """With c the (P, P) cross-correlation over the batch of the projections of two views, features standardized:

        loss = Σ_i (1 − c_ii)² + λ Σ_{i≠j} c_ij²

    Correlations are those of the whole batch, also where several processes share it.

    Args:
        encoder: maps views to embeddings, with its width as `dim`.
        projector: widths of the projector's layers; without layers, the loss is on z.
        redundancy: λ.
        norm: normalization of the projector, "batch" or "group".

    Raises:
        ValueError: for a redundancy that is not finite.

    Source: Zbontar, Jing, Misra, LeCun and Deny, "Barlow Twins", ICML 2021, equations 1 and 2.
    """

    min_batch_size: ClassVar[int] = 2

    def __init__(
        self, encoder: nn.Module, projector: Sequence[int], redundancy: float = 5e-3, norm: str = "batch"
    ) -> None:
        super().__init__(encoder)
        from lightly.loss import BarlowTwinsLoss

        if not math.isfinite(redundancy):
            raise ValueError(f"BarlowTwins expects a finite redundancy, got {redundancy}; 0.005 is the default.")

        self.projector = mlp_head(self.dim, projector, norm)
        self.criterion = BarlowTwinsLoss(lambda_param=redundancy)

    def branch(self, view: Float[Tensor, "N C H W"], z: Float[Tensor, "N D"]) -> Branch:
        """Return the projection, (N, P)."""
        return (self.projector(z),)

    def pair(self, one: Branch, other: Branch) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss; it has no parts here."""
        return self.criterion(whole_batch(*one), whole_batch(*other)), {}
