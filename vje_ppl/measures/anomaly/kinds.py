"""Anomaly scores by name, with the settings shown beside them in tables; higher = more anomalous.

Of the probability model, in nats, averaged over ordered pairs of views a→b:

- `conditional`: −E_{q_a}[log p(z_b | s, σ_a)], the sum over observed sites, from S posterior draws;
- `conditional/<site>`: the same at one observed site alone;
- `predictive`: −log E_{q_a}[p(z_b | s, σ_a)], the log of the mean over the same S draws;
- `joint`: −log p̂(z_a) − log p(z_b | z_a), by `joint.py`;
- `surprise_rank`: the share of the program's draws of view b that are likelier than view b, by `surprise_rank.py`;

of all views together, or of the image without augmentation:

- `evidence`: −log p(z_1, …, z_V) by importance sampling, by `evidence.py`;
- `typicality`, `typicality/<statistic>`: how far the program's statistics are from those of calibration images, by
  `typicality.py`;
- `regret`: the ELBO of the image's own best posterior less that of the guide's, by `regret.py`;

of single views, averaged over them:

- `kl`: KL(q ‖ prior);
- `log_precision`: −½ Σ log σ², half the log determinant of the precision, if the features are independent;
- `aggregate`: −log 1/(M S') Σ_j Σ_s p(z | s_j^(s), σ_j), the density of the image's embedding z, without augmentation,
  under the equal mixture of the predictive densities of M training images, each from S' draws of its posterior;

of a method that has a density of views without a program, in nats:

- `surprise`: −log p(view b | view a), averaged over ordered pairs of views, for VI-SimSiam; −log Normal(p; 0, I) of the
  projection p of view b for LeJEPA and VISReg, whose density does not depend on view a;
- `uncertainty`: how wide the predicted density is, −log κ for VI-SimSiam, averaged over single views;

on the same features, the distances of `Distances`; and, of the image alone, `complexity` by `complexity.py`. The
headline is fixed beforehand: `conditional` between augmented views, S = 16, 8 pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from vje_ppl.measures.anomaly.view_pairs import AUGMENTED_AUGMENTED, CLEAN

CONDITIONAL, PREDICTIVE, AGGREGATE, KL, LOG_PRECISION = "conditional", "predictive", "aggregate", "kl", "log_precision"
JOINT, EVIDENCE, TYPICALITY, REGRET = "joint", "evidence", "typicality", "regret"
SURPRISE_RANK = "surprise_rank"
SURPRISE, UNCERTAINTY = "surprise", "uncertainty"
KNN_DISTANCE, NEAREST_COSINE, MAHALANOBIS, SSD, CSI = "knn_distance", "nearest_cosine", "mahalanobis", "ssd", "csi"
COMPLEXITY = "complexity"
#: The scores that compare the two views of a pair, or otherwise need a probability model.
OF_PAIRS = (CONDITIONAL, PREDICTIVE, JOINT, SURPRISE_RANK)
OF_PROGRAM = (*OF_PAIRS, AGGREGATE, KL, LOG_PRECISION, EVIDENCE, TYPICALITY, REGRET)
NAMES = (*OF_PROGRAM, SURPRISE, UNCERTAINTY, KNN_DISTANCE, NEAREST_COSINE, MAHALANOBIS, SSD, CSI, COMPLEXITY)
HEADLINE = (CONDITIONAL, AUGMENTED_AUGMENTED, 16, 8)


@dataclass(frozen=True)
class ScoreKind:
    """A score and how it was computed; None for settings that do not apply.

    Attributes:
        name: of the score.
        views: the kind of pairs of views, or `clean` or `augmented` for single views, or `all` of them together.
        augmentations: number of random views of an image that were used.
        encoder: `trained`, `untrained`, or `none` for raw pixels.
        features: `z`, `mu` or `pixels`, for distances.
        samples: posterior draws S of an image, for `evidence` of each view; for `aggregate`, S' of a training image.
        pairs: unordered pairs of views.
        neighbours: k of k-NN distances.
        training_images: number M of training images that the score compares with.
        draws: draws of view b of an image, over all pairs of a kind; in rows that have them.
        calibration_images: number of calibration images; in rows that have them.
        steps: steps of the search for an image's own posterior; in rows that have them.
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
    draws: int | None = None
    calibration_images: int | None = None
    steps: int | None = None

    @property
    def family(self) -> str:
        """The name without the part after a slash, by which `scores.only` chooses."""
        return self.name.partition("/")[0]

    @property
    def row(self) -> dict[str, Any]:
        """The columns of a table that describe it."""
        some = {"draws": self.draws, "calibration_images": self.calibration_images, "steps": self.steps}
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
        } | {key: value for key, value in some.items() if value is not None}

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
