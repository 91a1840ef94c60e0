"""The compositions of the model that the certificate covers, under the same names in both backends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One composition of the polar Student-t model.

    Attributes:
        direction: `joint` or `factorized`, the density of the direction.
        radius_scale: `unit` or `projected`.
        scale: `tied`, `detached` (tied, but without gradient) or `free`.
        widths: the embedding widths D at which it is checked; empty: all.
        precisions: the precisions in which it is checked.
    """

    direction: str
    radius_scale: str
    scale: str = "tied"
    widths: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ("float64", "float32")

    def covers(self, dim: int, precision: str) -> bool:
        """Return whether the variant is checked at this width in this precision."""
        return (not self.widths or dim in self.widths) and precision in self.precisions

    @property
    def name(self) -> str:
        """The parts by name, for messages."""
        return f"{self.direction}, {self.radius_scale}, {self.scale}"


#: Widths at which the factorized and univariate densities are checked alone; they are sums over features, so few do.
FEATURE_WISE_WIDTHS = (3, 2048)

VARIANTS = (
    Variant("joint", "unit"),
    Variant("factorized", "projected", widths=(2048,)),
    Variant("joint", "projected", "free", widths=(3,), precisions=("float64",)),
    Variant("factorized", "unit", "detached", widths=(2,), precisions=("float64",)),
)
