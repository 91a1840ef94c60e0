"""Anomaly scores that need no probability model: how far features lie from those of the training images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Float64, Shaped
from sklearn.covariance import LedoitWolf
from torch import Tensor
from torch.nn.functional import normalize

from vje_ppl.errors import UserError
from vje_ppl.measures.anomaly.kinds import ScoreKind

KNN_DISTANCE, NEAREST_COSINE, MAHALANOBIS = "knn_distance", "nearest_cosine", "mahalanobis"
DISTANCES = (KNN_DISTANCE, NEAREST_COSINE, MAHALANOBIS)
_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Mahalanobis:
    """sqrt((x − m)ᵀ Σ⁻¹ (x − m)), the distance of features x from a Gaussian.

    Attributes:
        mean: m, (D,).
        precision: Σ⁻¹, (D, D).
    """

    mean: Float64[Tensor, " D"]
    precision: Float64[Tensor, "D D"]

    @classmethod
    def of(cls, features: Shaped[Tensor, "M ..."], device: torch.device) -> Mahalanobis:
        """Fit to features of M training images, flattened, with Ledoit and Wolf's covariance."""
        if len(features) < 2:
            raise UserError(f"Distances to training features need at least 2 training images, got {len(features)}.")
        fitted = LedoitWolf().fit(features.flatten(1).double().numpy())
        return cls(torch.from_numpy(fitted.location_).to(device), torch.from_numpy(fitted.precision_).to(device))

    def __call__(self, features: Float[Tensor, "N D"]) -> Float32[Tensor, " N"]:
        """Compute the distances of N features, on the device of the fit."""
        deviation = features.double() - self.mean
        squared = torch.linalg.vecdot(deviation @ self.precision, deviation)
        return squared.clamp_min(0).sqrt().float()


class Distances:
    """Distances from one set of training features; higher = more anomalous.

    - `knn_distance`: the mean cosine distance, 1 − cos, to the k nearest training features;
    - `nearest_cosine`: the cosine distance to the nearest training feature;
    - `mahalanobis`: sqrt((x − m)ᵀ Σ⁻¹ (x − m)) with mean m and covariance Σ of the training features, all classes
      together; Σ is Ledoit and Wolf's, which is invertible for any number of images.

    Args:
        features: of M training images, (M, ...); flattened.
        neighbours: k, at least 1; at most M are used.
        device: where distances are computed.

    Attributes:
        neighbours: k, as used.
        training_images: M.

    Raises:
        UserError: for fewer than two training images.

    Source: k-NN distance on normalized features: Sun, Ming, Zhu and Li, "Out-of-Distribution Detection with Deep
    Nearest Neighbors", ICML 2022, there to the k-th neighbour alone. Ledoit and Wolf, "A well-conditioned estimator for
    large-dimensional covariance matrices", 2004. One Gaussian for all classes: ours, since no label is used.
    """

    def __init__(self, features: Shaped[Tensor, "M ..."], neighbours: int, device: torch.device) -> None:
        flat = features.flatten(1).float()
        self._mahalanobis = Mahalanobis.of(flat, device)
        self._unit = normalize(flat, dim=1).to(device)
        self.neighbours, self.training_images = min(neighbours, len(flat)), len(flat)

    def __call__(self, features: Shaped[Tensor, "N ..."]) -> dict[str, Float[Tensor, " N"]]:
        """Compute the scores by name, on the device."""
        parts = [self._scores(chunk.flatten(1).float().to(self._unit.device)) for chunk in features.split(_CHUNK)]
        return {name: torch.cat([part[name] for part in parts]) for name in DISTANCES}

    def kind(self, name: str, features: str, views: str, augmentations: int, encoder: str = "trained") -> ScoreKind:
        """Return what to show beside a score in a table."""
        neighbours = {KNN_DISTANCE: self.neighbours, NEAREST_COSINE: 1}.get(name)
        return ScoreKind(
            name, views, augmentations, encoder, features, neighbours=neighbours, training_images=self.training_images
        )

    def _scores(self, features: Float[Tensor, "N D"]) -> dict[str, Float[Tensor, " N"]]:
        nearest = 1 - (normalize(features, dim=1) @ self._unit.T).topk(self.neighbours, dim=1).values
        return {
            KNN_DISTANCE: nearest.mean(1),
            NEAREST_COSINE: nearest[:, 0],
            MAHALANOBIS: self._mahalanobis(features),
        }
