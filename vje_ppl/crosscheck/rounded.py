"""Numbers with a bound on the rounding error of their formula in floating-point arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np


class Rounded:
    """A value, and the first-order bound on its rounding error in units of the unit roundoff: its magnitude.

    This is running error analysis. The error of an operation z = f(x, y) in arithmetic with unit roundoff u is at most

        u · (|∂f/∂x| magnitude(x) + |∂f/∂y| magnitude(y) + |z|)   to first order,

    and inputs are exact. The magnitude of a sum is therefore the sum of the absolute values of its terms and of their
    own magnitudes. Errors are measured relative to it, because a relative error is ill-posed where terms cancel.

    Args:
        value: array.
        magnitude: array, broadcastable with it; 0 for an exact input.

    Source: Higham, Accuracy and Stability of Numerical Algorithms (2002), section 3.3.
    """

    __array_ufunc__ = None  # NumPy arrays then use the operators of this class

    def __init__(self, value: Any, magnitude: Any = 0.0) -> None:
        self.value = np.asarray(value, dtype=np.longdouble)
        self.magnitude = np.broadcast_to(np.asarray(magnitude, dtype=np.longdouble), self.value.shape)

    def __add__(self, other: Any) -> Rounded:
        other = as_rounded(other)
        value = self.value + other.value
        return Rounded(value, self.magnitude + other.magnitude + abs(value))

    def __sub__(self, other: Any) -> Rounded:
        return self + -as_rounded(other)

    def __mul__(self, other: Any) -> Rounded:
        other = as_rounded(other)
        value = self.value * other.value
        return Rounded(value, abs(self.value) * other.magnitude + abs(other.value) * self.magnitude + abs(value))

    def __truediv__(self, other: Any) -> Rounded:
        other = as_rounded(other)
        value = self.value / other.value
        inherited = (self.magnitude + abs(value) * other.magnitude) / abs(other.value)
        return Rounded(value, inherited + abs(value))

    def __neg__(self) -> Rounded:
        return Rounded(-self.value, self.magnitude)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Any) -> Rounded:
        return as_rounded(other) - self

    def __rtruediv__(self, other: Any) -> Rounded:
        return as_rounded(other) / self

    def __getitem__(self, index: Any) -> Rounded:
        return Rounded(self.value[index], self.magnitude[index])

    def square(self) -> Rounded:
        """Return the square."""
        return Rounded(self.value**2, 2 * abs(self.value) * self.magnitude + self.value**2)

    def sqrt(self) -> Rounded:
        """Return the square root; exactly 0 at 0."""
        value = np.sqrt(self.value)
        return Rounded(value, self.magnitude / (2 * np.where(value > 0, value, 1)) + value)

    def log(self) -> Rounded:
        """Return the natural logarithm."""
        value = np.log(self.value)
        return Rounded(value, self.magnitude / abs(self.value) + abs(value))

    def log1p(self) -> Rounded:
        """Return `log(1 + x)`."""
        value = np.log1p(self.value)
        return Rounded(value, self.magnitude / (1 + self.value) + abs(value))

    def exp(self) -> Rounded:
        """Return the exponential."""
        value = np.exp(self.value)
        return Rounded(value, value * self.magnitude + value)

    def angle_over_sine(self) -> Rounded:
        """`asin(√x) / √(x (1 − x))` for x from 0 to below 1: θ/sin θ at x = sin²(θ/2); 1 at 0."""
        share = np.where(self.value > 0, self.value, 1e-30)
        value = np.arcsin(np.sqrt(share)) / np.sqrt(share * (1 - share))
        # Below 1e-6 the slope's numerator cancels; its limit is 2/3, from which it differs by less than 1e-6.
        slope = np.where(share > 1e-6, (1 - value * (1 - 2 * share)) / (2 * share * (1 - share)), 2 / 3)
        return Rounded(value, abs(slope) * self.magnitude + value)

    def clip(self, low: float) -> Rounded:
        """Return the number, or exactly `low` if the number is smaller."""
        return Rounded(np.maximum(self.value, low), np.where(self.value < low, 0, self.magnitude))

    def flip(self) -> Rounded:
        """Reverse the first dimension."""
        return Rounded(self.value[::-1], self.magnitude[::-1])

    def only(self, index: int) -> Rounded:
        """Set all but one index of the first dimension to exactly zero."""
        kept = np.zeros(self.value.shape, dtype=bool)
        kept[index] = True
        return Rounded(np.where(kept, self.value, 0), np.where(kept, self.magnitude, 0))

    def reshape(self, *shape: int) -> Rounded:
        """Change the shape."""
        return Rounded(self.value.reshape(shape), self.magnitude.reshape(shape))

    def transpose(self) -> Rounded:
        """Reverse the dimensions."""
        return Rounded(self.value.T, self.magnitude.T)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return self.value.shape

    def sum(self) -> Rounded:
        """Return the sum over the last dimension, whose magnitude assumes summation in few levels."""
        return Rounded(self.value.sum(-1), (self.magnitude + abs(self.value)).sum(-1))


def as_rounded(value: Any) -> Rounded:
    """Return a `Rounded` unchanged, and an array or number as an exact `Rounded`."""
    return value if isinstance(value, Rounded) else Rounded(value)


def stack(rows: list[Rounded]) -> Rounded:
    """Stack along a new first dimension."""
    return Rounded(np.stack([row.value for row in rows]), np.stack([row.magnitude for row in rows]))
