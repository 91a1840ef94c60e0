"""Cosine distances that keep their digits where vectors are nearly parallel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor
from torch.nn.functional import normalize

_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Directions:
    """Vectors of length 1 as differences from a common centre c, which float32 can hold if they are nearly equal.

    Attributes:
        offsets: u − c for the unit vectors u, (N, D).
        halves: ½ ‖u − c‖², and ½ more for a vector of zeros, which has no direction, (N,).
    """

    offsets: Float32[Tensor, "N D"]
    halves: Float32[Tensor, " N"]

    @classmethod
    def of(cls, features: Float[Tensor, "N D"], centre: Float64[Tensor, " D"]) -> Directions:
        """Normalize features of any length, on their device."""
        offsets, halves = [], []
        for chunk in features.split(_CHUNK):
            unit = normalize(chunk.double(), dim=1)
            offset = unit - centre
            offsets.append(offset.float())
            halves.append((0.5 * (offset.square().sum(1) + (chunk == 0).all(1))).float())
        return cls(torch.cat(offsets), torch.cat(halves))

    def select(self, rows: slice) -> Directions:
        """Return some of the vectors."""
        return Directions(self.offsets[rows], self.halves[rows])

    def distances(self, others: Directions) -> Float32[Tensor, "N M"]:
        """Return 1 − cos between each vector and each of the others: 1 if either is zero.

        It is ½ ‖u − v‖² for unit vectors u and v, and differences of the offsets are those of the vectors.
        """
        found = self.halves[:, None] + others.halves - self.offsets @ others.offsets.T
        return found.clamp_min(0)


def centre_of(features: Float[Tensor, "N D"]) -> Float64[Tensor, " D"]:
    """Return the mean direction of features."""
    total = features.new_zeros(features.shape[1], dtype=torch.float64)
    for chunk in features.split(_CHUNK):
        total += normalize(chunk.double(), dim=1).sum(0)
    return total / len(features)
