"""LeJEPA: views that agree, and projections that look Gaussian along random directions (SIGReg)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from vje_ppl.methods.gaussian_projections import GaussianProjections


class LeJEPA(GaussianProjections):
    """Invariance and SIGReg, the statistic of Epps and Pulley averaged over random directions a_k, ‖a_k‖ = 1:

        loss = (1 − λ) mean (p_v − p̄)² + λ 1/V Σ_v SIGReg(p_v)
        SIGReg(p_v) = 1/K Σ_k N ∫_{−T}^{T} |1/N Σ_n exp(i t a_k · p_vn) − exp(−t²/2)|² exp(−t²/2) dt

    by the trapezoidal rule, with N the images of the whole batch.

    SIGReg has two forms. By default it is computed for each view, with N samples, and averaged: so in the paper
    (equation LeJEPA and algorithm 2), in the authors' minimal example and in lightly. With `pool_views`, all V N
    projections are one sample: so in the authors' library, which moreover adds λ SIGReg to the whole invariance, so
    that its λ is λ/(1 − λ) here. The invariance is the mean over features, as in algorithm 2, and not their sum, as in
    equation 7.

    Args:
        encoder: maps views to embeddings, with its width as `dim`.
        projector: widths of the projector's layers; without layers, the loss is on z.
        weight: λ, from 0 to 1.
        directions: K.
        frequencies: number of values of t from 0 to T; the rest of the integral is the same by symmetry.
        largest_frequency: T.
        pool_views: whether the projections of all views are one sample for SIGReg.
        norm: normalization of the projector, "batch" or "group".

    Raises:
        ValueError: for a number out of its range.

    Source: Balestriero and LeCun, "LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics",
    2025 (arXiv 2511.08544), section 5.1, algorithms 1 and 2, where T = 5; the authors' minimal example
    (rbalestr-lab/lejepa, MINIMAL.md), where T = 3, as here; and their library (galilai-group/stable-pretraining,
    methods/lejepa.py). The paper recommends λ = 0.05, K = 1024 and ten views.
    """

    def __init__(
        self,
        encoder: nn.Module,
        projector: Sequence[int],
        weight: float = 0.05,
        directions: int = 1024,
        frequencies: int = 17,
        largest_frequency: float = 3.0,
        pool_views: bool = False,
        norm: str = "batch",
    ) -> None:
        super().__init__(encoder, projector, weight, directions, norm)
        from lightly.loss import SIGReg

        if frequencies < 2 or not 0 < largest_frequency < math.inf:
            raise ValueError(
                "LeJEPA expects frequencies of at least 2 and a finite largest_frequency above 0, got "
                f"{frequencies} and {largest_frequency}; 17 and 3 are the defaults."
            )
        self.pool_views = pool_views
        self.sigreg = SIGReg(knots=frequencies, t_max=largest_frequency, num_vectors=directions)

    def regularizer(self, p: Float[Tensor, "V N P"]) -> dict[str, Float[Tensor, ""]]:
        """Return SIGReg."""
        return {"sigreg": self.sigreg(p.flatten(0, 1) if self.pool_views else p)}
