"""Faults that are planted on purpose, to see that a diagnosis notices them.

What the likelihood is given of an image stays as trained; a fault changes the guide, or what the sampler is told.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vje_ppl.errors import UserError


class Fault(ABC):
    """A change of amortized posteriors, of the scale that calibration's sampler is given, or of nothing."""

    @property
    @abstractmethod
    def sentence(self) -> str:
        """What was done, for the report; empty for nothing."""

    def posterior(self, posterior: Any) -> Any:
        """The guide's posterior with the fault.

        Args:
            posterior: a dataclass with `mean` and `scale`, shape (..., D).
        """
        return posterior

    def sampler_scale(self, scale: Tensor) -> Tensor:
        """The likelihood's scale, shape (..., D), as calibration's sampler is told."""
        return scale

    def sampler_power(self) -> float:
        """The power to which calibration's sampler raises the likelihood; 1 is right."""
        return 1.0


class NoFault(Fault):
    """Everything as it was trained."""

    @property
    def sentence(self) -> str:
        """Nothing."""
        return ""


class ScaledScale(Fault):
    """The guide's standard deviations times a factor.

    Args:
        factor: positive.

    Raises:
        UserError: for a factor that is not positive.
    """

    def __init__(self, factor: float = 0.5) -> None:
        self.factor = _positive("factor", factor)

    @property
    def sentence(self) -> str:
        """What was done."""
        return f"the guide's scale was multiplied by {self.factor:g}"

    def posterior(self, posterior: Any) -> Any:
        """The posterior with its scale changed."""
        return replace(posterior, scale=posterior.scale * self.factor)


class ShiftedMean(Fault):
    """The guide's mean moved in every feature, in units of its standard deviation.

    Args:
        shift: by how many standard deviations.
    """

    def __init__(self, shift: float = 1.0) -> None:
        self.shift = shift

    @property
    def sentence(self) -> str:
        """What was done."""
        return f"the guide's mean was moved by {self.shift:g} of its standard deviations in every feature"

    def posterior(self, posterior: Any) -> Any:
        """The posterior with its mean moved."""
        return replace(posterior, mean=posterior.mean + self.shift * posterior.scale)


class CollapsedFeature(Fault):
    """One feature of the guide says the same of every image, Normal(mean, scale²), as a collapsed one does.

    Args:
        feature: which, from 0.
        mean: of all images.
        scale: of all images, positive; with mean 0 and scale 1 it is the standard normal prior.

    Raises:
        UserError: for a scale that is not positive, or, when it is planted, a feature that is none.
    """

    def __init__(self, feature: int = 0, mean: float = 0.0, scale: float = 1.0) -> None:
        self.feature, self.mean, self.scale = feature, mean, _positive("scale", scale)

    @property
    def sentence(self) -> str:
        """What was done."""
        return f"the guide's feature {self.feature} was collapsed to Normal({self.mean:g}, {self.scale:g}²)"

    def posterior(self, posterior: Any) -> Any:
        """The posterior with the feature collapsed."""
        dim = posterior.mean.shape[-1]
        if not 0 <= self.feature < dim:
            raise UserError(f"fault.feature expects a feature from 0 to {dim - 1}, got {self.feature}.")
        chosen = torch.arange(dim, device=posterior.mean.device) == self.feature
        return replace(
            posterior,
            mean=torch.where(chosen, self.mean, posterior.mean),
            scale=torch.where(chosen, self.scale, posterior.scale),
        )


class SamplerScale(Fault):
    """Calibration's sampler is given the likelihood's scale times a factor; the data are drawn with the right one.

    Args:
        factor: positive.

    Raises:
        UserError: for a factor that is not positive.
    """

    def __init__(self, factor: float = 0.5) -> None:
        self.factor = _positive("factor", factor)

    @property
    def sentence(self) -> str:
        """What was done."""
        return f"calibration's sampler was given {self.factor:g} times the likelihood's scale"

    def sampler_scale(self, scale: Tensor) -> Tensor:
        """The scale that it is given."""
        return scale * self.factor


class SamplerPower(Fault):
    """Calibration's sampler is given a tempered posterior, prior · likelihood^power, for the Bayesian one.

    Args:
        power: positive; 1 is no fault.

    Raises:
        UserError: for a power that is not positive.
    """

    def __init__(self, power: float = 2.0) -> None:
        self.power = _positive("power", power)

    @property
    def sentence(self) -> str:
        """What was done."""
        return f"calibration's sampler raised the likelihood to the power {self.power:g}"

    def sampler_power(self) -> float:
        """The power that it takes."""
        return self.power


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise UserError(f"fault.{name} expects a positive number, got {value}.")
    return value
