"""BYOL: predict the projection of the other view by a slowly moving copy of the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vje_ppl.methods.baseline import Baseline, Branch, head_width, mlp_head


class BYOL(Baseline):
    """The squared distance of normalized prediction and normalized target projection, in both directions:

        loss = (2 − 2 cos(h(f_1), t_2)) + (2 − 2 cos(h(f_2), t_1)),     f_v = projector(z_v)

    between 0 and 8, with t_v the projection of a target network that takes no gradient: encoder and projector whose
    parameters follow those of the online network after each step, ξ ← τ ξ + (1 − τ) θ. Batch statistics of the target
    network are its own.

    Args:
        encoder: maps views to embeddings, with its width as `dim`; the online encoder, which downstream tasks use.
        projector: widths of the projector's layers; without layers, the loss is on z: f = z.
        predictor: width of the hidden layer of the predictor h, whose output is as wide as the projector's.
        momentum: τ at the first step, from where half a cosine takes it to 1 at the end.
        norm: normalization of the heads, "batch" or "group".

    Source: Grill and others, "Bootstrap Your Own Latent", NeurIPS 2020, equations 1 and 2, and section 3.3 for the
    schedule of τ.
    """

    def __init__(
        self, encoder: nn.Module, projector: Sequence[int], predictor: int, momentum: float = 0.996, norm: str = "batch"
    ) -> None:
        super().__init__(encoder)
        from lightly.loss import NegativeCosineSimilarity

        if not 0 <= momentum <= 1:
            raise ValueError(f"BYOL expects a momentum from 0 to 1, got {momentum}.")
        self.momentum = momentum
        self.projector = mlp_head(self.dim, projector, norm)
        width = head_width(self.dim, projector)
        self.predictor = mlp_head(width, [predictor, width], norm)
        self.target_encoder = deepcopy(encoder).requires_grad_(False)
        self.target_projector = deepcopy(self.projector).requires_grad_(False)
        self.criterion = NegativeCosineSimilarity()

    @property
    def encoders(self) -> tuple[nn.Module, ...]:
        """The online encoder, and that of the target network."""
        return self.encoder, self.target_encoder

    def branch(self, view: Float[Tensor, "N C H W"], z: Float[Tensor, "N D"]) -> Branch:
        """Return the prediction of the online network, and projection of the target network, each (N, projector)."""
        with torch.no_grad():
            target = self.target_projector(self.target_encoder(view))
        return self.predictor(self.projector(z)), target

    def pair(self, one: Branch, other: Branch) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss; it has no parts."""
        (prediction_1, target_1), (prediction_2, target_2) = one, other
        return 4 + 2 * (self.criterion(prediction_1, target_2) + self.criterion(prediction_2, target_1)), {}

    def after_step(self, step: int, steps: int) -> None:
        """Move the target network towards the online one."""
        from lightly.models.utils import update_momentum

        online = nn.ModuleList([self.encoder, self.projector])  # together, since a projector may have no layers
        target = nn.ModuleList([self.target_encoder, self.target_projector])
        update_momentum(online, target, cosine_momentum(self.momentum, step, steps))


def cosine_momentum(start: float, step: int, steps: int) -> float:
    """τ_k = 1 − (1 − τ_0) (cos(π k / K) + 1) / 2 at step k of K, from τ_0 at the first step to 1 after the last.

    Source: Grill and others (2020), section 3.3.
    """
    return 1 - (1 - start) * (math.cos(math.pi * step / steps) + 1) / 2
