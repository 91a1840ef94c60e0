"""The table of the project's densities: one row or more for each, at settings from easy to extreme.

A new one in `vje_ppl/distributions` is a row here; `tests/distributions/test_conformance.py` runs all checks of
`vje_ppl.testing.check_distribution` on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vje_ppl.distributions import (
    DiagonalStudentT,
    Mixture,
    PowerSpherical,
    SphericalCauchy,
    SphericalStudentT,
    StudentT,
    TangentStudentT,
    UnitNormal,
    VonMisesFisher,
)
from vje_ppl.distributions.coupling_flow import CouplingFlow, FlowTransform
from vje_ppl.testing.density import Density


@dataclass(frozen=True)
class DistributionCase:
    """A distribution and settings of its parameters.

    Attributes:
        name: for the test's name.
        build: from parameters by name to the distribution.
        parameters: makes them, shape (N, ...), or (...) where `batched` is false.
        not_run: the checks that have nothing to say here.
        batched: whether it takes a batch of settings.
    """

    name: str
    build: Callable[..., Any]
    parameters: Callable[[], dict[str, Tensor]]
    not_run: frozenset[str] = frozenset()
    batched: bool = True

    def __str__(self) -> str:
        return self.name


def normals(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64, the same in every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def numbers(*values: float) -> Tensor:
    """A parameter at some settings."""
    return torch.tensor(values, dtype=torch.float64)


def directions(settings: int, dim: int) -> Tensor:
    """Unit vectors, shape (N, D)."""
    return normalize(normals(settings, dim), dim=-1)


def on_the_sphere(density: Any, dim: int, not_run: frozenset[str]) -> DistributionCase:
    """A density with location and concentration, from uniform to nearly a point."""
    kappa = numbers(0.0, 0.5, 20.0, 1e4)
    name = f"{density.__name__}-{dim}"
    return DistributionCase(name, density, lambda: {"loc": directions(4, dim), "concentration": kappa}, not_run)


def tangent_reference(df: Tensor, loc: Tensor, scale: Tensor) -> TangentStudentT:
    """The tangent plane's Student-t with the exponential map's volume factor."""
    return TangentStudentT(df, loc, scale, reference=True)


def diagonal_normals(logits: Tensor, loc: Tensor, scale: Tensor) -> Mixture:
    """A mixture as the prior has it."""
    return Mixture(logits, dist.Normal(loc, scale).to_event(1))


def low_rank_normals(logits: Tensor, loc: Tensor, factor: Tensor, diagonal: Tensor) -> Mixture:
    """A mixture as the VampPrior of a low-rank guide."""
    return Mixture(logits, dist.LowRankMultivariateNormal(loc, factor, diagonal))


@cache
def coupling_flow(dim: int, dtype: torch.dtype) -> CouplingFlow:
    """A flow that is far from the identity."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        flow = CouplingFlow(dim, 3)
        for layer in flow.layers:
            nn.init.normal_(layer.output.weight, std=0.5 * (2 * dim) ** -0.5)
    return flow.to(dtype).requires_grad_(False)


def flow(loc: Tensor, scale: Tensor) -> dist.TransformedDistribution:
    """The flow guide's posterior."""
    loc, scale = torch.broadcast_tensors(loc, scale)
    dtype = torch.promote_types(loc.dtype, scale.dtype)
    noise = UnitNormal(loc.shape[-1], loc.to(dtype), loc.shape[:-1])
    transform = FlowTransform(coupling_flow(loc.shape[-1], dtype), loc, scale)
    return dist.TransformedDistribution(noise, [transform])


MOMENTS = frozenset({"mean_is_right", "variance_is_right"})
ENTROPY, CDF, KL = (frozenset({f"{name}_is_right"}) for name in ("entropy", "cdf", "kl"))
DRAWN = frozenset({"gradient_through_draws_is_right"})
MIXED = frozenset({"mixed_precisions_agree"})
ONE_SETTING = frozenset({"settings_do_not_meet"})

CASES = [
    DistributionCase(
        "StudentT",
        StudentT,
        lambda: {
            "df": numbers(0.5, 1.0, 2.5, 40.0, 1e6),
            "loc": numbers(0.3, -2.0, 5.0, 0.0, 1.0),
            "scale": numbers(1.0, 0.01, 3.0, 1.0, 2.0),
        },
        CDF | KL,
    ),
    *(
        DistributionCase(
            f"DiagonalStudentT-{dim}",
            DiagonalStudentT,
            lambda dim=dim: {
                "df": numbers(0.5, 3.0, 30.0, 1e4),
                "loc": normals(4, dim),
                "scale": (normals(4, dim, seed=1) - 1).exp(),
            },
            ENTROPY | CDF | KL,
        )
        for dim in (1, 2, 5)
    ),
    *(
        on_the_sphere(density, dim, ENTROPY | CDF | KL | (frozenset() if density.has_rsample else DRAWN))
        for density in (VonMisesFisher, PowerSpherical, SphericalCauchy)
        for dim in (2, 3, 16)
    ),
    *(
        DistributionCase(
            f"SphericalStudentT-{dim}",
            SphericalStudentT,
            lambda dim=dim: {
                "df": numbers(0.5, 3.0, 1e4, 1.0),
                "loc": directions(4, dim),
                "scale": numbers(0.01, 0.3, 1.0, 20.0),
            },
            ENTROPY | CDF | KL | DRAWN,
        )
        for dim in (2, 3, 16)
    ),
    *(
        DistributionCase(  # at scales and tails with which nothing reaches the antipode, so that it integrates to one
            f"TangentStudentT-{dim}",
            tangent_reference,
            lambda dim=dim: {
                "df": numbers(200.0, 1e3, 1e4, 1e6),
                "loc": directions(4, dim),
                "scale": 0.3 * (0.2 * normals(4, dim, seed=1)).exp(),
            },
            MOMENTS | ENTROPY | CDF | KL | DRAWN,
        )
        for dim in (2, 3)
    ),
    *(
        DistributionCase(
            f"Mixture-{dim}",
            diagonal_normals,
            lambda dim=dim: {
                "logits": numbers(0.0, 1.0, -2.0),
                "loc": normals(3, dim),
                "scale": (normals(3, dim, seed=1) - 1).exp(),
            },
            ENTROPY | CDF | KL | DRAWN | ONE_SETTING,
            batched=False,
        )
        for dim in (2, 3)
    ),
    DistributionCase(
        "Mixture-low_rank",
        low_rank_normals,
        lambda: {
            "logits": numbers(0.0, 1.0, -2.0),
            "loc": normals(3, 3),
            "factor": normals(3, 3, 1, seed=1),
            "diagonal": normals(3, 3, seed=2).exp(),
        },
        ENTROPY | CDF | KL | DRAWN | ONE_SETTING | MIXED,
        batched=False,
    ),
    *(
        DistributionCase(
            f"UnitNormal-{dim}",
            lambda like, dim=dim: UnitNormal(dim, like),
            lambda: {"like": numbers(0.0)[0]},
            CDF | DRAWN | ONE_SETTING | MIXED,
            batched=False,
        )
        for dim in (2, 64)
    ),
    *(
        DistributionCase(
            f"flow-{dim}",
            flow,
            lambda dim=dim: {"loc": normals(3, dim), "scale": normals(3, dim, seed=1).exp()},
            MOMENTS | ENTROPY | CDF,
        )
        for dim in (2, 4)
    ),
]


@cache
def density(case: DistributionCase) -> Density:
    """A row as the checks take it."""
    return Density(case.build, case.parameters(), case.batched, case.name)
