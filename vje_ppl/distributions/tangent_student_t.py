"""The diagonal Student-t of a tangent plane of the unit sphere, mapped to the sphere by the exponential map."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from pyro.distributions import Chi2, constraints
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Tensor
from torch.nn.functional import normalize

from vje_ppl.distributions.log_gamma import finite_df
from vje_ppl.distributions.of_constant import of_constant
from vje_ppl.distributions.promoted import Parameter, promoted
from vje_ppl.distributions.sphere import unit_ball
from vje_ppl.distributions.tail import tail
from vje_ppl.distributions.tangent_distance import mahalanobis, tangent_distance, variance_along


class TangentStudentT(TorchDistribution):
    """A Student-t on the tangent plane at `loc`, with a scale for each feature, as a density on the unit sphere.

    Let θ be the angle between x and μ = `loc`, v = θ (x − cos θ μ)/sin θ the tangent vector at μ that the exponential
    map takes to x, and k = D − 1. The density of v on the plane is that of a Normal with covariance diag(scale²),
    conditioned on the plane, with a Student-t's tail in place of the Normal's:

        log t(x) = log Γ((ν+k)/2) − log Γ(ν/2) − k/2 log(νπ) − Σ_j log scale_j + ½ log Σ_j μ_j² scale_j²
                   − (ν+k)/2 log(1 + Σ_j (v_j/scale_j)²/ν)

    As a density on the sphere it lacks the exponential map's volume factor. With it,

        log p(x) = log t(x) + (D−2) log(θ/sin θ)

    integrates to P(‖v‖ < π), the share of the plane's Student-t that does not reach the antipode. Since sin θ ≤ θ, t is
    below p everywhere: a subdensity. So an ELBO with t bounds the log evidence under p, and p's under a density that
    integrates to one.

    Base measure: the surface measure of the unit sphere, over which t integrates to less than p, and p to at most one.

    Args:
        df: degrees of freedom ν > 0, a number or a tensor of shape (...); infinite is the Normal.
        loc: unit vectors μ, shape (..., D), D ≥ 2. The zero vector has no direction; the density at it is finite, and
            draws are uniform.
        scale: standard deviations of the Gaussian that the tail widens, in radians, positive, shape (..., D).
        reference: whether `log_prob` is log p. Do not maximize it: its factor grows without bound towards the antipode.

    Raises:
        ValueError: for fewer than two features.

    Source: ours. The exponential map's volume factor: Pennec, Intrinsic Statistics on Riemannian Manifolds (2006).

    Example:
        >>> north, scale = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.1, 0.5, 1.0])
        >>> TangentStudentT(1.0, north, scale).log_prob(torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))
        tensor([ 1.1579, -2.4211])
    """

    arg_constraints: ClassVar = {
        "df": constraints.positive,
        "loc": unit_ball,
        "scale": constraints.independent(constraints.positive, 1),
    }
    support = constraints.sphere
    has_rsample = False

    def __init__(
        self,
        df: Parameter,
        loc: Parameter,
        scale: Parameter,
        reference: bool = False,
        validate_args: bool | None = None,
    ) -> None:
        df, loc, scale = promoted(df, loc, scale)
        if loc.dim() < 1 or loc.shape[-1] < 2 or scale.dim() < 1 or scale.shape[-1] not in (1, loc.shape[-1]):
            raise ValueError(
                f"TangentStudentT expects loc and scale with a last dimension of the same two or more features, got "
                f"shapes {tuple(loc.shape)} and {tuple(scale.shape)}; unsqueeze a scalar scale to one feature."
            )
        batch_shape = torch.broadcast_shapes(df.shape, loc.shape[:-1], scale.shape[:-1])
        self.reference = reference
        self.df = df.expand(batch_shape)
        self.loc, self.scale = loc.expand(batch_shape + loc.shape[-1:]), scale.expand(batch_shape + loc.shape[-1:])
        # The normalizer is computed at the parameters' shapes, not at the expanded shapes.
        self._unbroadcasted_df, self._unbroadcasted_scale = df, scale
        super().__init__(batch_shape, loc.shape[-1:], validate_args=validate_args)

    @staticmethod
    def infer_shapes(  # type: ignore[override] # Pyro's base class takes any names
        df: tuple[int, ...], loc: tuple[int, ...], scale: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return batch and event shape from the shapes of the arguments, for Pyro's lazy shape inference."""
        return broadcast_shape(df, loc[:-1], scale[:-1]), loc[-1:]

    def expand(self, batch_shape: Any, _instance: Any = None) -> TangentStudentT:
        """Return the same distribution with another batch shape; nothing is copied."""
        new = self._get_checked_instance(TangentStudentT, _instance)
        batch_shape = torch.Size(batch_shape)
        new.reference, new.df = self.reference, self.df.expand(batch_shape)
        new.loc, new.scale = (one.expand(batch_shape + self.event_shape) for one in (self.loc, self.scale))
        new._unbroadcasted_df, new._unbroadcasted_scale = self._unbroadcasted_df, self._unbroadcasted_scale
        super(TangentStudentT, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density in nats of unit vectors, shape (..., D), over the sphere's area; shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        dim, scale = self.event_shape[0], self._unbroadcasted_scale
        df, power, log_normalizer = of_constant(tail, self._unbroadcasted_df, dim - 1)
        squared, log_scales = tangent_distance(value, self.loc, scale)
        log_prob = torch.addcmul(log_normalizer + log_scales, power, torch.log1p(squared / df), value=-1)
        return log_prob + (dim - 2) * mahalanobis(value, self.loc, scale)[1] if self.reference else log_prob

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw unit vectors, shape sample_shape + (..., D), without gradients.

        A Student-t vector of the plane is drawn, exactly, and taken to the sphere by the exponential map. A vector
        longer than π passes the antipode and wraps around; log p counts the others only. For a loc of zero, draws are
        uniform.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            loc, scale, df = self.loc, self.scale, finite_df(self.df)
            normal = torch.randn(shape, dtype=loc.dtype, device=loc.device)
            vector = scale * normal
            along = torch.linalg.vecdot(loc, vector) / variance_along(loc, scale)
            vector = vector - scale.square() * loc * along.unsqueeze(-1)
            vector = vector - loc * torch.linalg.vecdot(loc, vector).unsqueeze(-1)  # what rounding left
            mixing = (Chi2(df).sample(torch.Size(sample_shape)) / df).clamp_min(torch.finfo(df.dtype).tiny)
            length = torch.linalg.vector_norm(vector, dim=-1)
            angle = (length.double() * mixing.double().rsqrt()).clamp_max(1e12).remainder(2 * math.pi).to(loc.dtype)
            angle = angle.unsqueeze(-1)
            point = angle.cos() * loc + angle.sin() * normalize(vector, dim=-1)
            has_direction = torch.linalg.vecdot(loc, loc).unsqueeze(-1) > 0.5
            return normalize(torch.where(has_direction, point, normal), dim=-1)
