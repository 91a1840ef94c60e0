"""Anomaly scores that need no probability model: how far features lie from those of the training images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Float64, Shaped
from torch import Tensor
from torch.nn.functional import normalize

from vje_ppl.measures.anomaly.gaussian import Gaussian
from vje_ppl.measures.anomaly.kinds import CSI, KNN_DISTANCE, MAHALANOBIS, NEAREST_COSINE, SSD, ScoreKind
from vje_ppl.measures.cosine import Directions, centre_of

DISTANCES = (KNN_DISTANCE, NEAREST_COSINE, MAHALANOBIS, SSD, CSI)
_CHUNK = 1024

#: More features than this, as raw pixels have, get no `ssd`: a second covariance would take too long.
_MOST_FEATURES = 2048


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
        """Fit to features of M training images, flattened, with Ledoit and Wolf's covariance.

        Raises:
            UserError: for fewer than two images, or features that are not finite.
        """
        fitted = Gaussian.fitted(features.flatten(1), device)
        return cls(fitted.mean, fitted.precision)

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
      together; Σ is Ledoit and Wolf's, which is invertible for any number of images;
    - `ssd`: the same of x/‖x‖, each feature of which is standardized before; not for more than 2,048 features;
    - `csi`: −max_m cos(x, x_m) · ‖x‖ over training features x_m.

    Args:
        features: of M training images, (M, ...); flattened.
        neighbours: k, at least 1; at most M are used.
        device: where distances are computed.

    Attributes:
        neighbours: k, as used.
        training_images: M.

    Raises:
        UserError: for fewer than two training images, or features that are not finite.

    Source: k-NN distance on normalized features: Sun, Ming, Zhu and Li, "Out-of-Distribution Detection with Deep
    Nearest Neighbors", ICML 2022, there to the k-th neighbour alone. Ledoit and Wolf, "A well-conditioned estimator for
    large-dimensional covariance matrices", 2004. One Gaussian for all classes: ours, since no label is used. `ssd`:
    Sehwag, Chiang and Mittal, "SSD: A Unified Framework for Self-Supervised Outlier Detection", ICLR 2021, with one
    cluster, there with the sample covariance. `csi`: Tack, Mo, Jeong and Shin, "CSI: Novelty Detection via Contrastive
    Learning on Distributionally Shifted Instances", NeurIPS 2020, of one view.
    """

    def __init__(self, features: Shaped[Tensor, "M ..."], neighbours: int, device: torch.device) -> None:
        flat = features.flatten(1).float()
        self._mahalanobis, self._ssd = Mahalanobis.of(flat, device), None
        if flat.shape[1] <= _MOST_FEATURES:
            self._ssd = _StandardizedGaussian(normalize(flat, dim=1), device)
        flat = flat.to(device)
        self._centre = centre_of(flat)
        self._training = Directions.of(flat, self._centre)
        self.neighbours, self.training_images = min(neighbours, len(flat)), len(flat)

    def __call__(self, features: Shaped[Tensor, "N ..."]) -> dict[str, Float[Tensor, " N"]]:
        """Compute the scores by name, on the device."""
        parts = [self._scores(chunk.flatten(1).float().to(self._centre.device)) for chunk in features.split(_CHUNK)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def kind(self, name: str, features: str, views: str, augmentations: int, encoder: str = "trained") -> ScoreKind:
        """Return what to show beside a score in a table."""
        neighbours = {KNN_DISTANCE: self.neighbours, NEAREST_COSINE: 1, CSI: 1}.get(name)
        return ScoreKind(
            name, views, augmentations, encoder, features, neighbours=neighbours, training_images=self.training_images
        )

    def _scores(self, features: Float[Tensor, "N D"]) -> dict[str, Float[Tensor, " N"]]:
        between = Directions.of(features, self._centre).distances(self._training)
        nearest = between.topk(self.neighbours, dim=1, largest=False).values
        found = {
            KNN_DISTANCE: nearest.mean(1),
            NEAREST_COSINE: nearest[:, 0],
            MAHALANOBIS: self._mahalanobis(features),
        }
        if self._ssd is not None:
            found[SSD] = self._ssd.distance(normalize(features, dim=1))
        return found | {CSI: (nearest[:, 0] - 1) * torch.linalg.vector_norm(features, dim=1)}


class _StandardizedGaussian:
    """A Gaussian of features that have mean 0 and standard deviation 1 over the training images."""

    def __init__(self, features: Float[Tensor, "M D"], device: torch.device) -> None:
        scale, self._mean = (one.to(device) for one in torch.std_mean(features.double(), 0, correction=0))
        self._scale = scale.where(scale > 0, 1.0)
        standardized = (features.double() - self._mean.cpu()) / self._scale.cpu()
        self._gaussian = Gaussian.fitted(standardized, device)

    def distance(self, features: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        """Mahalanobis distance from the training images' mean."""
        return self._gaussian.squared_distance((features.double() - self._mean) / self._scale).sqrt().float()
