"""What a diagnosis will hold in memory, known before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from vje_ppl.errors import UserError

_FLOAT, _DOUBLE = 4, 8


@dataclass(frozen=True)
class Request:
    """How much is asked for.

    Attributes:
        images: N.
        dim: D.
        targets: observed views of an image.
        samples: draws of the guide and the Gaussians.
        chains: of each posterior.
        draws: kept of each chain.
        powers: number of target densities.
    """

    images: int
    dim: int
    targets: int
    samples: int
    chains: int
    draws: int
    powers: int

    @property
    def parts(self) -> dict[str, int]:
        """Bytes by what takes them."""
        chains = self.images * self.chains * self.draws * (self.dim + 5) * _FLOAT
        return {
            "draws of the guide": self.samples * self.images * self.dim * _FLOAT,
            "log weights": self.powers * 9 * self.samples * self.targets * self.images * _DOUBLE,
            "NUTS draws": (self.powers + 2)
            * chains,  # one set more while simulations are, and one while it is put together
        }

    @property
    def bytes(self) -> int:
        """All of them."""
        return sum(self.parts.values())


def check_memory(request: Request, limit_mb: float) -> None:
    """Refuse what would not fit, before it is worked on.

    Args:
        request: how much is asked for.
        limit_mb: megabytes.

    Raises:
        UserError: with the bytes that it would take.
    """
    if request.bytes <= limit_mb * 1e6:
        return
    parts = ", ".join(f"{size:,} for {name}" for name, size in request.parts.items())
    raise UserError(
        f"{request.images} images of {request.dim} features would take {request.bytes:,} bytes ({parts}), more than "
        f"memory_mb={limit_mb:g} allows; lower images.count, targets, samples, nuts.chains or nuts.draws, or "
        "raise memory_mb."
    )
