"""Extreme inputs that training and evaluation can meet."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

#: Norms of latents, targets and embeddings; the last of the latents' are next to zero, and zero itself.
NORMS = (1e-6, 1.0, 1e4)
LATENT_NORMS = (*NORMS, 1e-10, 0.0)
#: Scales that all features share, and one row in which they range over all of it.
SCALES = (1e-4, 1e-2, 1.0, 1e2)
_PLACES = ("at the location", "along it", "opposite to it", "elsewhere")


class StressGrid(NamedTuple):
    """Inputs of a likelihood, all combinations.

    Attributes:
        latent: shape (N, D).
        scale: shape (N, D).
        target: shape (N, D).
        words: a description of each of the N inputs, for messages.
    """

    latent: Float[Tensor, "N D"]
    scale: Float[Tensor, "N D"]
    target: Float[Tensor, "N D"]
    words: list[str]


def stress_grid(dim: int, dtype: torch.dtype) -> StressGrid:
    """Return latents and targets of many norms, close and opposite to each other, under scales of six decades.

    Args:
        dim: width D.
        dtype: of the tensors.
    """
    generator = torch.Generator().manual_seed(dim)
    axis, elsewhere = normalize(torch.randn(2, dim, generator=generator, dtype=torch.float64), dim=-1)
    mixed = 10 ** torch.empty(dim, dtype=torch.float64).uniform_(-4, 2, generator=generator)
    rows: list[Any] = []
    for latent_norm in LATENT_NORMS:
        for place in _PLACES:
            if place == "at the location" and latent_norm == 0:
                continue  # a target has a direction
            for target_norm in (latent_norm,) if place == "at the location" else NORMS:
                towards = {"along it": axis, "opposite to it": -axis, "elsewhere": elsewhere}.get(place, axis)
                for scale in (*(torch.full_like(mixed, one) for one in SCALES), mixed):
                    size = "from 1e-4 to 1e2" if scale is mixed else f"{scale[0].item():.0e}"
                    words = (
                        f"a latent of norm {latent_norm:.0e}, a target of norm {target_norm:.0e} {place}, scale {size}"
                    )
                    rows.append((latent_norm * axis, scale, target_norm * towards, words))
    latent, scale, target = (torch.stack([row[i] for row in rows]).to(dtype) for i in range(3))
    return StressGrid(latent, scale, target, [row[3] for row in rows])


def decades(dim: int, dtype: torch.dtype) -> Float[Tensor, "N D"]:
    """Return vectors of norms from 1e-6 to 1e4, shape (11, D)."""
    generator = torch.Generator().manual_seed(dim)
    direction = normalize(torch.randn(11, dim, generator=generator, dtype=torch.float64), dim=-1)
    return (torch.logspace(-6, 4, 11, dtype=torch.float64).unsqueeze(-1) * direction).to(dtype)
