"""What the densities integrate to over the space where their observations live, by quadrature.

Integrals over R^D run over direction and log-radius of the standardized vector, y = log ρ:

    ∫ p(x) dx = Π_j scale_j ∫_sphere dω ∫ dy ρ^D p(loc + scale ρ ω),

where the trapezoidal rule in y converges exponentially, since the integrand is analytic and decays exponentially both
ways. For isotropic densities the integrand does not depend on ω, and one direction stands for all: any D is then one
integral. On the unit sphere, with loc on it, an isotropic density depends on the angle θ alone,

    ∫_sphere p = |S^(D−2)| ∫ sin^(D−2) θ p(θ) dθ,     θ = π / (1 + e^(−y)).
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pyro.distributions as dist
import torch
from scipy import stats
from scipy.special import gammaln, logsumexp

from vje_ppl.distributions import DiagonalStudentT, UnitNormal
from vje_ppl.distributions.student_t import StudentT
from vje_ppl.files import write_atomically
from vje_ppl.models.likelihoods.polar_student_t import factorized

#: Log density in nats of points (M, D), shape (M,).
LogDensity = Callable[[np.ndarray], np.ndarray]

#: Largest error of a log integral: quadrature to about 1e-12, and sums of a thousand terms of rounding.
TOLERANCE = 1e-9

_DFS = (0.5, 1.0, 5.0, 1e3)
_SCALES = (0.01, 0.08, 0.5, 2.0)
_ISOTROPIC_WIDTHS = (16, 128, 512)


@dataclass
class Integral:
    """A row: what a density integrates to over a space, over several parameters.

    Attributes:
        density: its name.
        space: what it is integrated over.
        cases: number of parameter settings.
        lowest: smallest log integral, nats.
        highest: largest.
        expected: what it should be: `one`, or the name of a closed form.
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
        """Whether every integral is what it should be."""
        return self.error <= TOLERANCE

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"tolerance": TOLERANCE, "passed": self.passed}

    def row(self) -> dict[str, Any]:
        """For the table."""
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
    """Every density over its spaces."""
    return [*_over_space(), *_radii(), *_over_sphere()]


def log_integral_over_space(
    log_density: LogDensity, loc: np.ndarray, scale: np.ndarray, tail: float, isotropic: bool = False
) -> float:
    """Log of the integral of a density over R^D.

    Args:
        log_density: to integrate.
        loc: where to centre the quadrature, shape (D,).
        scale: its scale along each feature, shape (D,).
        tail: how fast the mass beyond ρ decays: at least as ρ^(−tail).
        isotropic: whether the density depends on the standardized radius alone; asked for D > 3.

    Raises:
        ValueError: for D > 3 where the density is not isotropic.
    """
    dim = len(loc)
    if dim > 3 and not isotropic:
        raise ValueError(f"Quadrature in {dim} dimensions is for isotropic densities only; expected D of 2 or 3.")
    centre, step = 0.5 * math.log(dim), min(0.1, 0.4 / math.sqrt(dim))
    y = np.arange(centre - 40 / dim - 3, centre + 40 / min(tail, 10) + 3, step)
    directions, log_weights = _one_direction(dim) if isotropic else _directions(dim)
    points = loc + scale * (np.exp(y)[:, None, None] * directions)
    values = log_density(points.reshape(-1, dim)).reshape(len(y), -1)
    return float(logsumexp(values + dim * y[:, None] + log_weights) + math.log(step) + np.log(scale).sum())


def log_integral_over_sphere(log_density: LogDensity, dim: int, scale: float) -> float:
    """Log of the integral over the unit sphere of a density that is isotropic around its location (1, 0, ..., 0).

    Args:
        log_density: to integrate.
        dim: D ≥ 2.
        scale: about how wide the density is.
    """
    decay, step = dim - 1, min(0.1, 0.3 / math.sqrt(dim))
    y = np.arange(min(math.log(scale), 0.0) - 40 / decay - 6, 40 / decay + 6, step)
    angle = math.pi / (1 + np.exp(-y))
    beyond = math.pi / (1 + np.exp(y))  # π − θ, without cancellation
    points = np.zeros((len(y), dim))
    points[:, 0], points[:, 1] = np.cos(angle), np.sin(np.minimum(angle, beyond))
    log_jacobian = np.log(angle) + np.log(beyond) - math.log(math.pi)
    log_sine = np.log(np.sin(np.minimum(angle, beyond)))
    values = log_density(points) + (dim - 2) * log_sine + log_jacobian
    return float(logsumexp(values) + math.log(step) + log_sphere_area(dim - 1))


def log_spherical_normalizer(df: float, dim: int, scale: float) -> float:
    """Closed form of what the isotropic Student-t with location on the unit sphere integrates to there.

    With c the normalizer over R^D: log Z = log c + log |S^(D−2)| + (D−2) log 2 + log B((D−1)/2, (D−1)/2)
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
        # By Pfaff's transformation the argument lies between 0 and 1.
        series = mpmath.hyp2f1(half, 2 * half - (nu + dim) / 2, 2 * half, argument / (argument - 1))
        log_hyp = mpmath.log(series) - half * mpmath.log1p(-argument)
        return float(log_c + area + (dim - 2) * mpmath.log(2) + beta + log_hyp)


def log_sphere_area(dim: int) -> float:
    """Log of the area of the unit sphere of R^dim; log 2 for dim = 1, two points."""
    return math.log(2) + 0.5 * dim * math.log(math.pi) - float(gammaln(0.5 * dim))


def student_t(df: float, loc: np.ndarray, scale: np.ndarray) -> LogDensity:
    """The project's diagonal multivariate Student-t."""
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
                    _log_integral_of_product(_log_density(product), loc, scale, min(df, 10))
                )
        unit = UnitNormal(dim, torch.zeros((), dtype=torch.float64))
        found["prior"].append(log_integral_over_space(_log_density(unit), np.zeros(dim), np.ones(dim), 10.0, isotropic))
        rows += [_row(name, f"R^{dim}", values, "one") for name, values in found.items() if values]
    return rows


def _radii() -> list[Integral]:
    """The radius's density over R, where it is normalized, and over r > 0, where radii live."""
    whole, positive, survival = [], [], []
    y, u = np.arange(-40.0, 85.0, 0.05), np.arange(-4.0, 4.0, 0.02)
    share = 0.5 * (1 + np.tanh(0.5 * math.pi * np.sinh(u)))  # double-exponential in (0, 1)
    log_weight = np.log(0.25 * math.pi * np.cosh(u) * 0.02) - 2 * np.log(np.cosh(0.5 * math.pi * np.sinh(u)))
    for df in _DFS:
        for scale in (0.3, 1.0, 3.0):
            loc = 1.0
            log_density = _log_density(StudentT(*(_tensor(np.array(one)) for one in (df, loc, scale))))
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


def draw(path: Path) -> None:
    """Draw what the isotropic Student-t on the sphere integrates to, over ν, D and scale, into a PNG file.

    Raises:
        UserError: if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from vje_ppl.curves import COLOURS, FAINT, INK

    dfs, widths, scales = (1.0, 5.0, 30.0), (3, 16, 128, 512), np.geomspace(0.003, 3.0, 49)
    figure = Figure(figsize=(10.0, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for number, df in enumerate(dfs):
        axes = figure.add_subplot(1, len(dfs), number + 1)
        axes.axhline(0.0, color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
        for colour, dim in zip(COLOURS, widths, strict=False):
            loc = np.eye(dim)[0]
            heights = [log_integral_over_sphere(student_t(df, loc, np.full(dim, s)), dim, s) / dim for s in scales]
            axes.semilogx(scales, heights, color=colour, linewidth=1.6, label=f"D = {dim}")
        axes.set_title(f"ν = {df:g}", loc="left", fontsize=10.5, fontweight="bold", color=INK)
        axes.set_xlabel("scale σ", fontsize=9, color=FAINT)
        axes.tick_params(labelsize=8, labelcolor=FAINT)
        axes.grid(color="#e6e6e6", linewidth=0.7)
        axes.set_ylim(-2.0, 2.0)
        if number == 0:
            axes.set_ylabel("log Z / D (nats a dimension)", fontsize=9, color=FAINT)
            axes.legend(frameon=False, fontsize=8)
    figure.suptitle(
        "What the isotropic Student-t integrates to on the unit sphere; dashed: a normalized density",
        x=0.01,
        ha="left",
        fontsize=11,
        color=INK,
    )
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120, facecolor="white")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, picture.getvalue())


def _log_integral_of_product(log_density: LogDensity, loc: np.ndarray, scale: np.ndarray, tail: float) -> float:
    """Over R^D with heavy tails along the axes: the double-exponential rule x = sinh(π/2 sinh u) for every feature.

    Source: Takahasi and Mori, Double Exponential Formulas for Numerical Integration (1974).
    """
    dim, step = len(loc), 0.07
    end = math.asinh(80 / (math.pi * tail))  # where x^(−tail) has fallen to e^(−40)
    u = np.arange(-end, end, step)
    inner = 0.5 * math.pi * np.sinh(u)
    line = np.sinh(inner)
    log_weight = np.log(0.5 * math.pi * np.cosh(u) * np.cosh(inner) * step)
    points = np.stack(np.meshgrid(*[line] * dim, indexing="ij"), -1).reshape(-1, dim)
    log_weights = np.ravel(sum(np.meshgrid(*[log_weight] * dim, indexing="ij")))
    return float(logsumexp(log_density(loc + scale * points) + log_weights) + np.log(scale).sum())


def _directions(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes on the unit sphere of R² or R³, and log weights."""
    azimuth = np.arange(32) * (2 * math.pi / 32)
    circle = np.stack([np.cos(azimuth), np.sin(azimuth)], -1)
    if dim == 2:
        return circle, np.full(32, math.log(2 * math.pi / 32))
    height, weight = np.polynomial.legendre.leggauss(16)
    ring = np.sqrt(1 - height**2)[:, None, None] * circle
    nodes = np.concatenate([ring, np.broadcast_to(height[:, None, None], (16, 32, 1))], -1)
    return nodes.reshape(-1, 3), np.repeat(np.log(weight * 2 * math.pi / 32), 32)


def _one_direction(dim: int) -> tuple[np.ndarray, np.ndarray]:
    direction = np.random.default_rng(dim).standard_normal(dim)
    return (direction / np.linalg.norm(direction))[None], np.array([log_sphere_area(dim)])


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
