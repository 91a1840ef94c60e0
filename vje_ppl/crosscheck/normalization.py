"""Integrals of the densities over the sets in which their values lie, by quadrature."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import mpmath
import numpy as np
import pyro.distributions as dist
import torch
from scipy import stats
from scipy.special import logsumexp

from vje_ppl.crosscheck.quadrature import (
    LogDensity,
    log_integral_of_product,
    log_integral_over_space,
    log_integral_over_sphere,
)
from vje_ppl.distributions import DiagonalStudentT, TangentStudentT, UnitNormal
from vje_ppl.distributions.student_t import StudentT
from vje_ppl.models.likelihoods.polar_student_t import factorized

#: Largest error of a log integral: about 1e-12 from the quadrature, and the rounding errors of a thousand terms.
TOLERANCE = 1e-9

_DFS = (0.5, 1.0, 5.0, 1e3)
_SCALES = (0.01, 0.08, 0.5, 2.0)
_ISOTROPIC_WIDTHS = (16, 128, 512)


@dataclass
class Integral:
    """A row: the integrals of a density over a space, for several parameters.

    Attributes:
        density: its name.
        space: the domain of integration.
        cases: number of parameter settings.
        lowest: smallest log integral, in nats.
        highest: largest log integral, in nats.
        expected: the expected value: `one`, or the name of a closed form.
        error: largest absolute error of the log integral.
    """

    density: str
    space: str
    cases: int
    lowest: float
    highest: float
    expected: str
    error: float

    @property
    def passed(self) -> bool:
        """Whether every integral has the expected value."""
        return self.error <= TOLERANCE

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"tolerance": TOLERANCE, "passed": self.passed}

    def row(self) -> dict[str, Any]:
        """Return a row of the table."""
        return {
            "density": self.density,
            "over": self.space,
            "cases": self.cases,
            "lowest log Z": self.lowest,
            "highest log Z": self.highest,
            "expected": self.expected,
            "error": self.error,
            "tolerance": TOLERANCE,
            "result": "pass" if self.passed else "FAIL",
        }


def study() -> list[Integral]:
    """Integrate every density over its domains."""
    return [*_over_space(), *_radii(), *_over_sphere(), *_tangent()]


def log_spherical_normalizer(df: float, dim: int, scale: float) -> float:
    """Return the log integral over the unit sphere of the isotropic Student-t with location on it, in closed form.

    With c the normalizer over R^D, log Z = log c + log |S^(D−2)| + (D−2) log 2 + log B((D−1)/2, (D−1)/2)
    + log ₂F₁((ν+D)/2, (D−1)/2; D−1; −4/(νσ²)).
    """
    with mpmath.workdps(30):
        nu, half = mpmath.mpf(df), mpmath.mpf(dim - 1) / 2  # D = 1 + 2 half
        log_c = (
            mpmath.loggamma((nu + dim) / 2)
            - mpmath.loggamma(nu / 2)
            - mpmath.mpf(dim) / 2 * mpmath.log(nu * mpmath.pi)
            - dim * mpmath.log(scale)
        )
        area = mpmath.log(2) + half * mpmath.log(mpmath.pi) - mpmath.loggamma(half)
        beta = 2 * mpmath.loggamma(half) - mpmath.loggamma(2 * half)
        argument = -4 / (nu * mpmath.mpf(scale) ** 2)
        # Pfaff's transformation brings the argument between 0 and 1.
        series = mpmath.hyp2f1(half, 2 * half - (nu + dim) / 2, 2 * half, argument / (argument - 1))
        log_hyp = mpmath.log(series) - half * mpmath.log1p(-argument)
        return float(log_c + area + (dim - 2) * mpmath.log(2) + beta + log_hyp)


def student_t(df: float, loc: np.ndarray, scale: np.ndarray) -> LogDensity:
    """Return the log density of the project's diagonal multivariate Student-t."""
    return _log_density(DiagonalStudentT(torch.tensor(df, dtype=torch.float64), _tensor(loc), _tensor(scale)))


def _over_space() -> list[Integral]:
    rng = np.random.default_rng(0)
    rows = []
    for dim in (2, 3, *_ISOTROPIC_WIDTHS):
        isotropic = dim > 3
        found: dict[str, list[float]] = {"diagonal Student-t": [], "factorized Student-t": [], "prior": [], "guide": []}
        for df in _DFS:
            loc = rng.standard_normal(dim)
            scale = np.full(dim, 0.3) if isotropic else np.exp(rng.normal(-1.0, 1.0, dim))
            found["diagonal Student-t"].append(
                log_integral_over_space(student_t(df, loc, scale), loc, scale, df, isotropic)
            )
            normal = dist.Normal(_tensor(loc), _tensor(scale)).to_event(1)
            found["guide"].append(log_integral_over_space(_log_density(normal), loc, scale, 10.0, isotropic))
            if not isotropic:
                product = factorized(torch.tensor(df, dtype=torch.float64), _tensor(loc), _tensor(scale))
                found["factorized Student-t"].append(
                    log_integral_of_product(_log_density(product), loc, scale, min(df, 10))
                )
        unit = UnitNormal(dim, torch.zeros((), dtype=torch.float64))
        found["prior"].append(log_integral_over_space(_log_density(unit), np.zeros(dim), np.ones(dim), 10.0, isotropic))
        rows += [_row(name, f"R^{dim}", values, "one") for name, values in found.items() if values]
    return rows


def _radii() -> list[Integral]:
    """Integrate the radius's density over R, where it is normalized, and over r > 0, the set of radii."""
    whole, positive, survival = [], [], []
    y, u = np.arange(-40.0, 85.0, 0.05), np.arange(-4.0, 4.0, 0.02)
    share = 0.5 * (1 + np.tanh(0.5 * math.pi * np.sinh(u)))  # double-exponential in (0, 1)
    log_weight = np.log(0.25 * math.pi * np.cosh(u) * 0.02) - 2 * np.log(np.cosh(0.5 * math.pi * np.sinh(u)))
    for df in _DFS:
        for scale in (0.3, 1.0, 3.0):
            loc = 1.0
            parameters = _tensor(np.array(df)), _tensor(np.array(loc)), _tensor(np.array(scale))
            log_density = _log_density(StudentT(*parameters))
            log_step = y + math.log(0.05 * scale)
            above, below = (logsumexp(log_density(loc + side * scale * np.exp(y)) + log_step) for side in (1, -1))
            between = logsumexp(log_density(loc * share) + log_weight) + math.log(loc)
            whole.append(float(np.logaddexp(above, below)))
            positive.append(float(np.logaddexp(above, between)))
            survival.append(float(stats.t.logsf(0.0, df, loc, scale)))
    return [
        _row("univariate Student-t", "R", whole, "one"),
        _row("univariate Student-t", "r > 0", positive, "SciPy's survival", survival),
    ]


def _over_sphere() -> list[Integral]:
    rows = []
    for dim in (2, 3, *_ISOTROPIC_WIDTHS):
        loc = np.eye(dim)[0]
        cases = [(df, scale) for df in _DFS for scale in _SCALES]
        found = [log_integral_over_sphere(student_t(df, loc, np.full(dim, s)), dim, s) for df, s in cases]
        closed = [log_spherical_normalizer(df, dim, scale) for df, scale in cases]
        rows.append(_row("diagonal Student-t", f"unit sphere of R^{dim}", found, "₂F₁", closed))
    return rows


def tangent_student_t(df: float, dim: int, scale: float, reference: bool) -> float:
    """Return the log integral over the unit sphere of `TangentStudentT` with a single scale, by quadrature."""
    loc, scales = _tensor(np.eye(dim)[0]), torch.full((dim,), scale, dtype=torch.float64)
    log_density = _log_density(TangentStudentT(df, loc, scales, reference))
    return log_integral_over_sphere(log_density, dim, scale, to_antipode=reference)


def _tangent() -> list[Integral]:
    """Compare the reference's integral with the exact value, and the subdensity's with the reference's."""
    rows = []
    for dim in (2, 3, *_ISOTROPIC_WIDTHS):
        exact = {
            (df, scale): float(stats.f.logcdf(math.pi**2 / ((dim - 1) * scale**2), dim - 1, df))
            for df in _DFS[1::2]
            for scale in _SCALES
        }
        exact = {case: value for case, value in exact.items() if value > -100}  # SciPy's smallest probability
        reference = [tangent_student_t(df, dim, scale, True) for df, scale in exact]
        below = [tangent_student_t(df, dim, scale, False) for df, scale in exact]
        space = f"unit sphere of R^{dim}"
        rows.append(_row("tangent Student-t, reference", space, reference, "Fisher's F", list(exact.values())))
        bounds = [min(value, bound) for value, bound in zip(below, reference, strict=True)]
        rows.append(_row("tangent Student-t", space, below, "below the reference", bounds))
    return rows


def _log_density(distribution: Any) -> LogDensity:
    def log_density(points: np.ndarray) -> np.ndarray:
        return distribution.log_prob(_tensor(points)).numpy()

    return log_density


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(array, dtype=torch.float64)


def _row(density: str, space: str, found: list[float], expected: str, closed: list[float] | None = None) -> Integral:
    error = np.abs(np.array(found) - (0.0 if closed is None else np.array(closed)))
    largest = float(error.max()) if np.isfinite(error).all() else math.inf
    return Integral(density, space, len(found), min(found), max(found), expected, largest)
