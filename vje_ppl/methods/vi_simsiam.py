"""VI-SimSiam: SimSiam that also predicts how certain it is, as the concentration of a density on the sphere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from vje_ppl.distributions.power_spherical import PowerSpherical
from vje_ppl.methods.baseline import Baseline, Branch, head_width, mlp_head

#: Below it, softplus(u) is exp(u) to nine digits.
_EXPONENTIAL_BELOW = -20.0


class VISimSiam(Baseline):
    """The symmetric negative log density of the other view's direction, which is held fixed:

        loss = −1/(2 P) [log PS(sg f̂_2; μ_1, κ_1) + log PS(sg f̂_1; μ_2, κ_2)],     f̂_v = f_v / ‖f_v‖

    with f_v = projector(z_v) of width P, (m_v, u_v) = predictor(f_v), the mean direction μ_v = m_v/‖m_v‖, and the
    concentration κ_v = (P − 1) M tanh(softplus(u_v)/M).

    Args:
        encoder: maps views to embeddings, with its width as `dim`.
        projector: widths of the projector's layers; its output is normalized, without learned scale and shift. Without
            layers, the density is of the direction of z: f = z.
        predictor: width of the hidden layer of the predictor.
        most_concentrated: M, where κ/(P − 1) ends; the density's mean cosine is then M/(M + 1).
        norm: normalization of the heads, "batch" or "group".

    Source: Nakamura, Okada and Taniguchi, "Representation Uncertainty in Self-Supervised Learning as Variational
    Inference", ICCV 2023 (arXiv 2203.11437): a power spherical density with a predicted concentration in place of
    SimSiam's cosine, with stopped targets. Ours, because its abstract and figures do not specify it: a single predictor
    gives direction and concentration, how u becomes κ (in units of P − 1, in which a κ of 1 means a cosine of ½ on
    average at any width) and its bound, without which a perfectly predicted target has no best κ, and the division of
    the loss by P, so that a learning rate carries over between widths.
    """

    def __init__(
        self,
        encoder: nn.Module,
        projector: Sequence[int],
        predictor: int,
        most_concentrated: float = 1000.0,
        norm: str = "batch",
    ) -> None:
        super().__init__(encoder)
        width = head_width(self.dim, projector)
        if width < 2 or not 0 < most_concentrated < math.inf:
            raise ValueError(
                "VISimSiam expects a projector of 2 features or more and most_concentrated > 0, got "
                f"{width} and {most_concentrated}; both must be finite."
            )
        self.most_concentrated = most_concentrated
        self.projector = mlp_head(self.dim, projector, norm, output_norm=True)
        self.predictor = mlp_head(width, [predictor, width + 1], norm)

    def branch(self, view: Float[Tensor, "N C H W"], z: Float[Tensor, "N D"]) -> Branch:
        """Return the predictor's output, (N, P + 1), and the projection without a gradient, (N, P)."""
        projection = self.projector(z)
        return self.predictor(projection), projection.detach()

    def pair(self, one: Branch, other: Branch) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss, in nats per feature; mean log density, in nats, and mean concentration κ/(P − 1)."""
        densities = [self.density(branch[0]) for branch in (one, other)]
        targets = [normalize(branch[1], dim=-1) for branch in (other, one)]
        log_density = torch.stack([q.log_prob(x) for q, x in zip(densities, targets, strict=True)]).mean()
        dim = targets[0].shape[-1]
        concentration = torch.stack([q.concentration for q in densities]).mean() / (dim - 1)
        return -log_density / dim, {"log_density": log_density, "concentration": concentration}

    def surprise(self, source: Float[Tensor, "N D"], target: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        """−log PS(f̂; μ, κ) in nats, with f̂ from the target's embedding, and μ and κ from the source's."""
        direction = normalize(self.projector(target), dim=-1)
        return -self.density(self.predictor(self.projector(source))).log_prob(direction)

    def uncertainty(self, z: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        """−log κ."""
        prediction = self.predictor(self.projector(z))
        raw, concentration = prediction[..., -1], self.density(prediction).concentration
        # Far below zero, softplus(u) is exp(u), which may be too small for a float.
        smallest = -raw - math.log(prediction.shape[-1] - 2)
        return torch.where(raw < _EXPONENTIAL_BELOW, smallest, -concentration.log())

    def density(self, prediction: Float[Tensor, "*batch outputs"]) -> PowerSpherical:
        """Return the density of the other view's direction that the predictor's output stands for."""
        loc = normalize(prediction[..., :-1], dim=-1)
        most = self.most_concentrated
        concentration = (loc.shape[-1] - 1) * most * torch.tanh(softplus(prediction[..., -1]) / most)
        return PowerSpherical(loc, concentration)
