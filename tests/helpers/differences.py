"""Gradients by central differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def central_differences(function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The gradient of a function of an array, whose error is of the order of step² and of 1e-16/step."""
    gradient = np.empty_like(at)
    for index in np.ndindex(at.shape):
        moved = [at.copy(), at.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        gradient[index] = (function(moved[0]) - function(moved[1])) / (2 * step)
    return gradient
