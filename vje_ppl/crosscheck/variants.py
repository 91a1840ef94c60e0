"""The ways of putting the model together that the certificate covers, named alike for both backends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One composition of the polar Student-t model.

    Attributes:
        direction: `joint` or `factorized`, the density of the direction.
        radius_scale: `unit` or `projected`.
        scale: `tied`, `detached` (tied, but without gradient) or `free`.
        widths: at which widths it is checked; empty is all.
        precisions: in which precisions.
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
        """For messages: what it is made of."""
        return f"{self.direction}, {self.radius_scale}, {self.scale}"


#: At which widths the factorized and the univariate density are evaluated on their own: they are sums over features.
FEATURE_WISE_WIDTHS = (3, 2048)

VARIANTS = (
    Variant("joint", "unit"),
    Variant("factorized", "projected", widths=(2048,)),
    Variant("joint", "projected", "free", widths=(3,), precisions=("float64",)),
    Variant("factorized", "unit", "detached", widths=(2,), precisions=("float64",)),
)
