"""Does an uncertainty know where the nearest neighbour of an embedding is of another class?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from sklearn.metrics import roc_auc_score
from torch import Tensor

from vje_ppl.errors import UserError
from vje_ppl.measures.cosine import Directions, centre_of
from vje_ppl.measures.risk_coverage import RiskCoverage, risk_coverage

_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class UncertainRetrieval:
    """How well an uncertainty of N images predicts errors of retrieval.

    Attributes:
        recall: Recall@1, the share of images whose nearest neighbour among the others is of their class.
        r_auroc: AUROC of the uncertainty with errors as positives: 0.5 is chance, 1 is best; None without errors, or
            with nothing else.
        curve: risk against coverage, the most certain images first.
    """

    recall: float
    r_auroc: float | None
    curve: RiskCoverage


def uncertain_retrieval(
    features: Float[Tensor, "N D"], labels: Int64[Tensor, " N"], uncertainty: Float64[np.ndarray, " N"]
) -> UncertainRetrieval:
    """Retrieve the nearest neighbour of each image among the others, and compare its errors with the uncertainty.

    Args:
        features: of N images, compared by cosine.
        labels: their classes.
        uncertainty: higher = less certain.

    Raises:
        UserError: for fewer than two images, or features or an uncertainty that are not finite.

    Source: Kirchhof, Mucsányi, Oh and Kasneci, "URL: A Representation Learning Benchmark for Transferable Uncertainty
    Estimates", NeurIPS 2023: R-AUROC and Recall@1; risk and coverage: see `risk_coverage`.
    """
    bad = int((~np.isfinite(uncertainty)).sum())
    if bad:
        raise UserError(
            f"The uncertainty of {bad} of {len(uncertainty)} images is not finite, so it cannot rank images; train "
            "with a lower optimizer.lr, or look closer with debug=true."
        )
    wrong = (labels[nearest_other(features)] != labels).numpy()
    mixed = wrong.any() and not wrong.all()
    return UncertainRetrieval(
        recall=float(1 - wrong.mean()),
        r_auroc=float(roc_auc_score(wrong, uncertainty)) if mixed else None,
        curve=risk_coverage(uncertainty, _as_bool(wrong)),
    )


def nearest_other(features: Float[Tensor, "N D"]) -> Int64[Tensor, " N"]:
    """Return the place of the most similar other row by cosine; among equal ones the first.

    Raises:
        UserError: for fewer than two rows, or rows that are not finite.
    """
    if len(features) < 2:
        raise UserError(f"The nearest neighbour among other images needs at least 2 images, got {len(features)}.")
    bad = int((~features.isfinite().all(1)).sum())
    if bad:
        raise UserError(
            f"The features of {bad} of {len(features)} images are not finite; train with a lower optimizer.lr."
        )
    every, found = Directions.of(features, centre_of(features)), []
    for start in range(0, len(features), _CHUNK):
        distances = every.select(slice(start, start + _CHUNK)).distances(every)
        distances.diagonal(start).fill_(torch.inf)
        found.append(distances.argmin(1))
    return torch.cat(found)


def _as_bool(values: np.ndarray) -> Bool[np.ndarray, " N"]:
    return values.astype(np.bool_)
