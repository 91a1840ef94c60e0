"""The multivariate Student-t prior: a standard normal whose radius has a heavy tail."""

from __future__ import annotations

import math

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.nn import PyroModule
from torch import Tensor

from vje_ppl.distributions import DiagonalStudentT


class StudentTPrior(PyroModule):
    """`p(s) = StudentT_ν(0, I)` on R^D, joint over the features: one Mahalanobis term, ‖s‖².

        log p(s) = c(ν, D) − (ν+D)/2 log(1 + ‖s‖²/ν)

    It depends on ‖s‖ alone, so directions are uniform as under the standard normal, and only the radius has a heavy
    tail, ‖s‖²/D ~ F(D, ν): a long embedding costs its logarithm instead of its square. The product of univariate
    Student-t would prefer directions along the axes, as `laplace` does.

    Base measure: Lebesgue on R^D, over which it integrates to one. No KL in closed form: Monte Carlo.

    Args:
        dim: embedding width D.
        df: degrees of freedom ν, positive; small is heavy-tailed, and 30 is close to the standard normal. Feature-wise
            variances are ν/(ν−2), infinite for ν ≤ 2.

    Raises:
        ValueError: if ν is not positive and finite.

    Source: Kotz and Nadarajah, Multivariate t Distributions and Their Applications (2004), equation 1.1; as a prior of
    this model: ours.
    """

    df: Tensor

    def __init__(self, dim: int, df: float = 5.0) -> None:
        super().__init__()
        if not 0 < df < math.inf:
            raise ValueError(
                f"StudentTPrior expects positive degrees of freedom, got df={df}; 5 is the default, and "
                "prior=standard_normal is the limit of infinite df."
            )
        self.dim = dim
        self.register_buffer("df", torch.tensor(float(df)))

    def forward(self) -> TorchDistributionMixin:
        """Return the prior, batch shape (), event shape (D,)."""
        return DiagonalStudentT(self.df, self.df.new_zeros(self.dim), self.df.new_ones(1))
