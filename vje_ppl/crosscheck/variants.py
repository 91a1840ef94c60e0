"""The compositions of the model that the certificate covers, named alike for both backends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One composition of the polar Student-t model.

    Attributes:
        direction: `joint` or `factorized`, the density of the direction.
        radius_scale: `unit` or `projected`.
        scale: `tied`, `detached` (tied, but without gradient) or `free`.
        widths: the widths at which it is checked; empty means all.
        precisions: the precisions in which it is checked.
    """

    direction: str
    radius_scale: str
    scale: str = "tied"
    widths: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ("float64", "float32")

    def covers(self, dim: int, precision: str) -> bool:
        """Return whether it is checked at a width in a precision."""
        return (not self.widths or dim in self.widths) and precision in self.precisions

    @property
    def name(self) -> str:
        """A description of its parts, for messages."""
        return f"{self.direction}, {self.radius_scale}, {self.scale}"


#: Widths for single evaluations of the factorized and univariate densities, which are sums over features.
FEATURE_WISE_WIDTHS = (3, 2048)

VARIANTS = (
    Variant("joint", "unit"),
    Variant("factorized", "projected", widths=(2048,)),
    Variant("joint", "projected", "free", widths=(3,), precisions=("float64",)),
    Variant("factorized", "unit", "detached", widths=(2,), precisions=("float64",)),
)
