"""Faults that can be planted, to see that a diagnosis notices them.

The scale that the likelihood gets stays as trained: a fault changes the guide, or calibration's sampler.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, override

import torch
from torch import Tensor

from vje_ppl.errors import UserError


class Fault:
    """A change of the guide's posteriors or of calibration's sampler.

    Attributes:
        words: a description for the report, as a format string over the fault's fields.
        positive: names of the fields that must be positive.

    Raises:
        UserError: if a field that must be positive is not.
    """

    words: ClassVar[str] = ""
    positive: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in self.positive:
            if not getattr(self, name) > 0:
                raise UserError(f"fault.{name} expects a positive number, got {getattr(self, name)}.")

    @property
    def sentence(self) -> str:
        """A description for the report."""
        return self.words.format(**vars(self))

    def posterior(self, posterior: Any) -> Any:
        """Change the guide's posterior.

        Args:
            posterior: a dataclass with `mean` and `scale`, shape (..., D).
        """
        return posterior

    def sampler_scale(self, scale: Tensor) -> Tensor:
        """Change the likelihood's scale, shape (..., D), that calibration's sampler gets."""
        return scale

    def sampler_power(self) -> float:
        """Return the power to which calibration's sampler raises the likelihood; 1 is right."""
        return 1.0


class NoFault(Fault):
    """Everything as trained."""


@dataclass(frozen=True)
class ScaledScale(Fault):
    """The guide's standard deviations times a positive factor."""

    words = "the guide's scale was multiplied by {factor:g}"
    positive = ("factor",)
    factor: float = 0.5

    @override
    def posterior(self, posterior: Any) -> Any:
        return replace(posterior, scale=posterior.scale * self.factor)


@dataclass(frozen=True)
class ShiftedMean(Fault):
    """The guide's mean moved in every feature, in units of its standard deviation."""

    words = "the guide's mean was moved by {shift:g} of its standard deviations in every feature"
    shift: float = 1.0

    @override
    def posterior(self, posterior: Any) -> Any:
        return replace(posterior, mean=posterior.mean + self.shift * posterior.scale)


@dataclass(frozen=True)
class CollapsedFeature(Fault):
    """One feature of the guide has the same posterior for every image, Normal(mean, scale²).

    With mean 0 and scale 1 it is the standard normal prior, as for a collapsed feature.

    Args:
        feature: its index, from 0.
        mean: for all images.
        scale: for all images, positive.
    """

    words = "the guide's feature {feature} was collapsed to Normal({mean:g}, {scale:g}²)"
    positive = ("scale",)
    feature: int = 0
    mean: float = 0.0
    scale: float = 1.0

    @override
    def posterior(self, posterior: Any) -> Any:
        dim = posterior.mean.shape[-1]
        if not 0 <= self.feature < dim:
            raise UserError(f"fault.feature expects a feature from 0 to {dim - 1}, got {self.feature}.")
        chosen = torch.arange(dim, device=posterior.mean.device) == self.feature
        return replace(
            posterior,
            mean=torch.where(chosen, self.mean, posterior.mean),
            scale=torch.where(chosen, self.scale, posterior.scale),
        )


@dataclass(frozen=True)
class SamplerScale(Fault):
    """Calibration's sampler gets the likelihood's scale times a positive factor; data are drawn with the true scale."""

    words = "calibration's sampler was given {factor:g} times the likelihood's scale"
    positive = ("factor",)
    factor: float = 0.5

    @override
    def sampler_scale(self, scale: Tensor) -> Tensor:
        return scale * self.factor


@dataclass(frozen=True)
class SamplerPower(Fault):
    """Calibration's sampler gets a tempered posterior, prior · likelihood^power with a positive power."""

    words = "calibration's sampler raised the likelihood to the power {power:g}"
    positive = ("power",)
    power: float = 2.0

    @override
    def sampler_power(self) -> float:
        return self.power
