"""Anomaly scores by name, with the settings shown beside them in tables; higher = more anomalous.

Of the probability model, in nats, averaged over ordered pairs of views a→b:

- `conditional`: −E_{q_a}[log p(z_b | s, σ_a)], the sum over observed sites, from S posterior draws;
- `conditional/<site>`: the same at one observed site alone;
- `predictive`: −log E_{q_a}[p(z_b | s, σ_a)], the log of the mean over the same S draws;

of single views, averaged over them:

- `kl`: KL(q ‖ prior);
- `log_precision`: −½ Σ log σ², half the log determinant of the posterior's precision;
- `aggregate`: −log 1/(M S') Σ_j Σ_s p(z | s_j^(s), σ_j), the density of the image's embedding z, without augmentation,
  under the equal mixture of the predictive densities of M training images, each from S' draws of its posterior;

of a method that predicts the other view's density without a program, such as VI-SimSiam:

- `surprise`: −log p(view b | view a), averaged over ordered pairs of views;
- `uncertainty`: how wide the predicted density is, −log κ for VI-SimSiam, averaged over single views;

and, on the same features, the distances of `Distances`. The headline is fixed beforehand: `conditional` between
augmented views, S = 16, 8 pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from vje_ppl.measures.anomaly.view_pairs import AUGMENTED_AUGMENTED, CLEAN

CONDITIONAL, PREDICTIVE, AGGREGATE, KL, LOG_PRECISION = "conditional", "predictive", "aggregate", "kl", "log_precision"
SURPRISE, UNCERTAINTY = "surprise", "uncertainty"
HEADLINE = (CONDITIONAL, AUGMENTED_AUGMENTED, 16, 8)


@dataclass(frozen=True)
class ScoreKind:
    """A score and how it was computed; None for settings that do not apply.

    Attributes:
        name: of the score.
        views: the kind of pairs of views, or `clean` or `augmented` for single views.
        augmentations: number of random views of an image that were used.
        encoder: `trained`, `untrained`, or `none` for raw pixels.
        features: `z`, `mu` or `pixels`, for distances.
        samples: posterior draws S of an image; for `aggregate`, S' of a training image.
        pairs: unordered pairs of views.
        neighbours: k of k-NN distances.
        training_images: number M of training images that the score compares with.
    """

    name: str
    views: str = CLEAN
    augmentations: int = 0
    encoder: str = "trained"
    features: str | None = None
    samples: int | None = None
    pairs: int | None = None
    neighbours: int | None = None
    training_images: int | None = None

    @property
    def row(self) -> dict[str, Any]:
        """The columns of a table that describe it."""
        return {
            "score": self.name,
            "encoder": self.encoder,
            "features": self.features,
            "views": self.views,
            "S": self.samples,
            "pairs": self.pairs,
            "augmentations": self.augmentations,
            "k": self.neighbours,
            "training_images": self.training_images,
        }

    @property
    def is_headline(self) -> bool:
        """Whether it is the headline score, which was fixed beforehand, including its numbers of draws and pairs."""
        return (self.name, self.views, self.samples, self.pairs) == HEADLINE


@dataclass(frozen=True, eq=False)
class Score:
    """A score of N images.

    Attributes:
        kind: the score.
        values: one per image, higher = more anomalous, [N].
    """

    kind: ScoreKind
    values: Float64[np.ndarray, " N"]
