"""VISReg: views that agree, and projections whose mean, scale and shape are those of a Gaussian."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from vje_ppl.methods.gaussian_projections import GaussianProjections


class VISReg(GaussianProjections):
    """Invariance, and three terms for each view v, averaged over views:

        loss = (1 − λ) mean (p_v − p̄)² + λ 1/V Σ_v [μ_s scale(p_v) + μ_h shape(p_v) + μ_c center(p_v)]
        scale = mean_j (1 − s_j)²,     center = mean_j m_j²
        shape = mean_{k,i} (x_k(i) − Φ⁻¹(i/(N + 1)))²,     x_kn = a_k · (p_n − m)/(sg s + 10⁻⁴)

    with m_j and s_j the mean and the standard deviation (of N, not N − 1) of feature j over the N images of the whole
    batch, random directions a_k, ‖a_k‖ = 1, and x_k(i) the i-th smallest of N values: a sliced Wasserstein distance.

    Args:
        encoder: maps views to embeddings, with its width as `dim`.
        projector: widths of the projector's layers; without layers, the loss is on z.
        weight: λ, from 0 to 1.
        directions: number of a_k.
        scale: μ_s.
        shape: μ_h.
        center: μ_c.
        norm: normalization of the projector, "batch" or "group".

    Raises:
        ValueError: for a number out of its range.

    Source: Wu, Balestriero and Levine, "VISReg: Variance-Invariance-Sketching Regularization for JEPA training", 2026
    (arXiv 2606.02572), equations 1 to 8, as lightly has them; we also read the authors' code (HaiyuWu/visreg), which
    has max(s, 10⁻⁶) in place of s + 10⁻⁴. There, each process draws directions of its own; here all draw the same, so
    that the loss does not depend on their number. The model p ~ Normal(0, I) as an anomaly score: ours.
    """

    def __init__(
        self,
        encoder: nn.Module,
        projector: Sequence[int],
        weight: float = 0.9,
        directions: int = 4096,
        scale: float = 1.0,
        shape: float = 1.0,
        center: float = 1.0,
        norm: str = "batch",
    ) -> None:
        super().__init__(encoder, projector, weight, directions, norm)
        self.weights = {"scale": scale, "shape": shape, "center": center}
        if not all(0 <= one < math.inf for one in self.weights.values()):
            given = ", ".join(f"{name}={one}" for name, one in self.weights.items())
            raise ValueError(f"VISReg expects finite weights of at least 0, got {given}; each is 1 by default.")

    def regularizer(self, p: Float[Tensor, "V N P"]) -> dict[str, Float[Tensor, ""]]:
        """Return the three terms with their weights."""
        from lightly.loss import visreg_loss as lightly

        terms = {
            "scale": lightly.visreg_scale_loss(p),
            "shape": lightly.visreg_shape_loss(p, self.directions),
            "center": lightly.visreg_center_loss(p),
        }
        return {name: self.weights[name] * term for name, term in terms.items()}
