"""The certificate: the errors of every quantity over all cases, compared with tolerances."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from vje_ppl.crosscheck import closed_form, numpyro_side, pyro_side, scipy_side
from vje_ppl.crosscheck.cases import draw_cases
from vje_ppl.crosscheck.quantities import ORDER, is_vector
from vje_ppl.crosscheck.rounded import Rounded
from vje_ppl.crosscheck.variants import VARIANTS

#: Number of cases by width; at large widths a single case already has many features.
COUNTS = {2: 96, 3: 96, 16: 96, 128: 48, 2048: 24}

#: Largest error in float64, as a share of the magnitude.
FLOAT64_TOLERANCE = 1e-10

#: Unit roundoff of float32.
FLOAT32_ROUNDOFF = 2.0**-24


def tolerance(precision: str, dim: int) -> float:
    """Return the largest error allowed, as a share of the magnitude (see `Rounded`).

    In float64 it is 1e-10. In float32 it follows from rounding errors. The magnitude counts each operation once, with
    an error of one unit roundoff u, but two kinds of operations have larger errors. An elementary function has an error
    of up to 4 u. A sum of D terms in sequence adds an error of up to u at every step. In total this is at most D u; as
    a random walk, it is at most λ sqrt(D) u with probability 1 − 2 exp(−λ²/2), and for λ = 4 a sum exceeds it once in
    1,500 times. Two backends can differ by twice the error of a backend: 2 (4 + 4 sqrt(D)) u.

    Source: Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis (2019), theorem 2.4.
    """
    return FLOAT64_TOLERANCE if precision == "float64" else (8 + 8 * math.sqrt(dim)) * FLOAT32_ROUNDOFF


@dataclass
class Check:
    """One row: a quantity in one precision, over all widths and cases.

    Attributes:
        quantity: its name.
        precision: `float64` or `float32`.
        oracles: the references other than Pyro and NumPyro.
        cases: number of cases.
        absolute: largest absolute error of any comparison.
        relative: largest error as a share of the magnitude.
        tolerance: the largest share allowed, at the width where it is largest.
        excess: largest error divided by the allowed error; the row fails above 1, or if a value is not finite.
        suspect: the backend that disagrees with the others, if the row fails.
        worst: where the excess is largest, and all values there.
    """

    quantity: str
    precision: str
    oracles: list[str] = field(default_factory=list)
    cases: int = 0
    absolute: float = 0.0
    relative: float = 0.0
    tolerance: float = 0.0
    excess: float = 0.0
    suspect: str | None = None
    worst: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every comparison is within its tolerance."""
        return self.excess <= 1

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"passed": self.passed}


@dataclass(frozen=True)
class Batch:
    """Cases of one width, for the densities or for one composition of the model.

    Attributes:
        dim: width D.
        about: a description, for messages.
        precision: `float64` or `float32`, of the backends.
    """

    dim: int
    about: str
    precision: str


@dataclass(frozen=True)
class SyntheticBatch(Batch):
    """A batch of synthetic cases.

    Attributes:
        pyro: computes the values in Pyro.
        numpyro: computes the values in NumPyro.
        closed_form: computes the closed forms, with magnitudes.
        scipy: computes the values in SciPy, where SciPy can.
    """

    pyro: Callable[[], dict[str, np.ndarray]]
    numpyro: Callable[[], dict[str, np.ndarray]]
    closed_form: Callable[[], dict[str, Rounded]]
    scipy: Callable[[], dict[str, np.ndarray]]


def batches(
    precisions: Sequence[str], widths: Iterable[int], seed: int, device: str = "cpu", jax_device: str = "cpu"
) -> list[SyntheticBatch]:
    """Return the grid of synthetic cases.

    Args:
        precisions: `float64`, `float32` or both.
        widths: the values of D.
        seed: seed of the cases.
        device: torch's device for Pyro.
        jax_device: JAX's device for NumPyro.
    """
    found: list[SyntheticBatch] = []
    for dim in sorted(widths, reverse=True):  # slow batches first
        drawn = draw_cases(dim, COUNTS.get(dim, 48), seed)
        for precision in precisions:
            cases = drawn.astype(precision)
            found.append(
                SyntheticBatch(
                    dim,
                    "densities",
                    precision,
                    partial(pyro_side.densities, cases, device),
                    partial(numpyro_side.densities, cases, jax_device),
                    partial(closed_form.densities, cases),
                    partial(scipy_side.densities, cases),
                )
            )
            found += [
                SyntheticBatch(
                    dim,
                    variant.name,
                    precision,
                    partial(pyro_side.program, cases, variant, device),
                    partial(numpyro_side.program, cases, variant, jax_device),
                    partial(closed_form.program, cases, variant),
                    partial(scipy_side.program, cases, variant),
                )
                for variant in VARIANTS
                if variant.covers(dim, precision)
            ]
    return found


def certify(batches: Sequence[SyntheticBatch], progress: Callable[[str], None] = lambda line: None) -> list[Check]:
    """Evaluate all batches with all backends, and compare the values.

    Two threads compile NumPyro's functions while the main thread evaluates the other backends.

    Returns:
        A check per quantity and precision, in order of first appearance.
    """
    checks: dict[tuple[str, str], Check] = {}
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(batch.numpyro) for batch in batches]
        for batch, numpyro in zip(batches, waiting, strict=True):
            results = {"Pyro": batch.pyro(), "SciPy": batch.scipy()}
            reference = batch.closed_form()
            results["NumPyro"] = numpyro.result()
            progress(f"D = {batch.dim}, {batch.precision}: {batch.about}")
            compare(checks, batch, results, reference)
    return sorted(checks.values(), key=lambda check: ORDER.index(check.quantity))


def compare(
    checks: dict[tuple[str, str], Check],
    batch: Batch,
    results: dict[str, dict[str, np.ndarray]],
    reference: dict[str, Rounded],
    has_closed_form: bool = True,
) -> None:
    """Compare a batch's values, and record the errors in the checks of its quantities.

    Args:
        checks: the checks by quantity and precision; changed in place.
        batch: the batch.
        results: values by backend and quantity.
        reference: closed forms with magnitudes.
        has_closed_form: whether the values of `reference` are compared too, or only its magnitudes used.

    Raises:
        ValueError: if the backends and the reference have different quantities.
    """
    if results["Pyro"].keys() != reference.keys() or results["NumPyro"].keys() != reference.keys():
        raise ValueError("Expected Pyro, NumPyro and the oracle to evaluate the same quantities.")
    allowed = tolerance(batch.precision, batch.dim)
    for quantity, oracle in reference.items():
        check = checks.setdefault((quantity, batch.precision), Check(quantity, batch.precision))
        values = {party: by_name[quantity] for party, by_name in results.items() if quantity in by_name}
        if "SciPy" in values and np.isnan(values["SciPy"]).all():
            del values["SciPy"]
        if has_closed_form:
            values["closed form"] = oracle.value
        check.tolerance = max(check.tolerance, allowed)
        check.cases += _cases(quantity, oracle)
        check.oracles = sorted({*check.oracles, *(values.keys() - {"Pyro", "NumPyro"})})
        _enter(check, batch, values, oracle.magnitude, allowed)


_PAIRS = (
    ("Pyro", "NumPyro"),
    ("Pyro", "closed form"),
    ("NumPyro", "closed form"),
    ("Pyro", "SciPy"),
    ("NumPyro", "SciPy"),
)


def _enter(check: Check, batch: Batch, values: dict[str, np.ndarray], magnitude: np.ndarray, allowed: float) -> None:
    excess: dict[tuple[str, str], float] = {}
    # A value of the wrong shape, such as a sum over the wrong axis, counts as wrong everywhere.
    values = {
        party: value if value.shape == magnitude.shape else np.full(magnitude.shape, np.inf)
        for party, value in values.items()
    }
    for one, other in _PAIRS:
        if other not in values:
            continue
        absolute, relative = _errors(values[one], values[other], magnitude, other == "SciPy")
        where = np.unravel_index(np.argmax(relative), relative.shape)
        check.absolute = max(check.absolute, float(absolute.max(initial=0)))
        check.relative = max(check.relative, float(relative[where]))
        excess[one, other] = float(relative[where]) / allowed
        if excess[one, other] > check.excess or not check.worst:
            check.excess = max(check.excess, excess[one, other])
            here = {party: float(value[where]) for party, value in values.items()}
            check.worst = {"D": batch.dim, "of": batch.about, "index": [int(i) for i in where], **here}
    if max(excess.values()) > 1:
        check.suspect = _suspect(excess, check.suspect)


def _errors(one: np.ndarray, other: np.ndarray, magnitude: np.ndarray, partial: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return absolute errors, and errors relative to the magnitude; both are infinite if a value is not finite.

    Args:
        one: the values of a backend.
        other: the values to compare with.
        magnitude: the magnitude of the quantity.
        partial: whether NaN in `other` marks a value that was not computed, which then has an error of 0.
    """
    magnitude = magnitude.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # subtract in extended precision; the results fit in float64
        absolute = np.abs(np.subtract(one, other, dtype=np.longdouble)).astype(np.float64)
        relative = absolute / np.where(magnitude > 0, magnitude, 1e-300)
    bad = ~(np.isfinite(absolute) & np.isfinite(magnitude))
    if bad.any():
        abstains = np.isnan(other) & partial
        absolute, relative = (np.where(abstains, 0, np.where(bad, np.inf, each)) for each in (absolute, relative))
    return np.asarray(absolute), np.asarray(relative)


def _suspect(excess: dict[tuple[str, str], float], before: str | None) -> str:
    """Return the backend that differs from the closed form while the other backend agrees."""
    if not any(other == "closed form" for _, other in excess):
        return "Pyro or NumPyro"
    wrong = [party for party in ("Pyro", "NumPyro") if excess[party, "closed form"] > 1]
    name = " and ".join(wrong) or "SciPy"
    return name if before in (None, name) else "Pyro and NumPyro"


def _cases(quantity: str, oracle: Rounded) -> int:
    """Return the number of entries of a value, or the number of vectors of a gradient by a vector."""
    shape = oracle.shape[:-1] if is_vector(quantity) and len(oracle.shape) > 1 else oracle.shape
    return math.prod(shape)
