"""The base of the baselines whose projections agree between views and are standard Gaussian over images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from vje_ppl.methods.baseline import Baseline, Branch, mlp_head, whole_batch
from vje_ppl.program.noise import SharedDraws


class GaussianProjections(Baseline):
    """An invariance term and a regularizer that asks for a standard Gaussian, on the projections p, (V, N, P):

        loss = (1 − λ) mean_{v,n,j} (p_vnj − p̄_nj)² + λ regularizer(p),     p̄ = 1/V Σ_v p_v

    All views are global views, with none of the small local crops of the papers. The images are those of the whole
    batch, also where several processes share it. Directions that the regularizer draws are keyed by the run's seed and
    step, and are the same in all processes.

    The model of the projections is p ~ Normal(0, I), from which the anomaly score `surprise` comes.

    Args:
        encoder: maps views to embeddings, with its width as `dim`.
        projector: widths of the projector's layers; without layers, the loss is on z.
        weight: λ, from 0 to 1.
        directions: number of random directions on which the projections are compared with a Gaussian.
        norm: normalization of the projector, "batch" or "group".

    Raises:
        ValueError: for a weight or a number of directions out of range.
    """

    min_batch_size: ClassVar[int] = 2

    def __init__(self, encoder: nn.Module, projector: Sequence[int], weight: float, directions: int, norm: str) -> None:
        super().__init__(encoder)
        name = type(self).__name__
        if not 0 <= weight <= 1:
            raise ValueError(f"{name} expects a weight from 0 to 1, got {weight}; 0: no regularizer, 1: nothing else.")
        if directions < 1:
            raise ValueError(f"{name} expects directions of at least 1, got {directions}.")
        self.weight, self.directions = weight, directions
        self.projector = mlp_head(self.dim, projector, norm)

    def branch(self, view: Float[Tensor, "N C H W"], z: Float[Tensor, "N D"]) -> Branch:
        """Return the projection, (N, P)."""
        return (self.projector(z),)

    def pair(self, one: Branch, other: Branch) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss of two views, and its terms, which add up to it."""
        return self.of_views((one, other))

    def of_views(self, outputs: Sequence[Branch]) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss of all views together, and its terms, which add up to it."""
        from lightly.loss.lejepa_loss import lejepa_invariance_loss

        p = torch.stack([whole_batch(*one) for one in outputs])
        with SharedDraws(p.device):
            regularizer = self.regularizer(p)
        invariance = (1 - self.weight) * lejepa_invariance_loss(all_proj=p, global_proj=p)
        terms = {"term/invariance": invariance}
        terms |= {f"term/{name}": self.weight * term for name, term in regularizer.items()}
        return torch.stack(list(terms.values())).sum(), terms

    @abstractmethod
    def regularizer(self, p: Float[Tensor, "V N P"]) -> dict[str, Float[Tensor, ""]]:
        """Return the terms of the regularizer, which add up to it; directions are drawn by `torch.randn`."""

    def surprise(self, source: Float[Tensor, "N D"], target: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        """−log Normal(p; 0, I) in nats, p the projection of the target's embedding; the source does not matter."""
        return -Normal(0.0, 1.0).log_prob(self.projector(target)).sum(-1)
