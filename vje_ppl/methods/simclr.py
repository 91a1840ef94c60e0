"""SimCLR: tell the other view of an image from the views of all other images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from vje_ppl.methods.baseline import Baseline, Branch, mlp_head, whole_batch


class SimCLR(Baseline):
    """The normalized and temperature-scaled cross entropy (NT-Xent) of the projections p of both views of N images:

        loss = −1/(2 N) Σ_i log [exp(cos(p_i, p_j(i))/τ) / Σ_{k≠i} exp(cos(p_i, p_k)/τ)]

    with i and k over all 2 N projections, and j(i) the other view of the image of i. The images are those of the whole
    batch, also where several processes share it.

    Args:
        encoder: maps views to embeddings, with its width as `dim`.
        projector: widths of the projector's layers; without layers, the loss is on z.
        temperature: τ.
        norm: normalization of the projector, "batch" or "group".

    Raises:
        ValueError: for a temperature that is not positive and finite.

    Source: Chen, Kornblith, Norouzi and Hinton, "A Simple Framework for Contrastive Learning of Visual
    Representations", ICML 2020, equation 1 and algorithm 1. The normalization of the projector's hidden layer is that
    of the authors' code (google-research/simclr, model_util.py), which normalizes the output too.
    """

    min_batch_size: ClassVar[int] = 2

    def __init__(
        self, encoder: nn.Module, projector: Sequence[int], temperature: float = 0.5, norm: str = "batch"
    ) -> None:
        super().__init__(encoder)
        from lightly.loss import NTXentLoss

        if not 0 < temperature < math.inf:
            raise ValueError(f"SimCLR expects a finite temperature above 0, got {temperature}; 0.5 is the default.")
        self.projector = mlp_head(self.dim, projector, norm)
        self.criterion = NTXentLoss(temperature=temperature)

    def branch(self, view: Float[Tensor, "N C H W"], z: Float[Tensor, "N D"]) -> Branch:
        """Return the projection, (N, P)."""
        return (self.projector(z),)

    def pair(self, one: Branch, other: Branch) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss; it has no parts."""
        return self.criterion(whole_batch(*one), whole_batch(*other)), {}
