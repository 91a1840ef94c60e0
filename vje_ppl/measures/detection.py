"""How well an anomaly score separates two sets of images; the metrics are scikit-learn's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

#: The note below a table.
DEFINITIONS = (
    "AUROC: anomalies as positives; AUPR-in and AUPR-out: average precision with the in-distribution or the "
    "out-of-distribution images as positives; FPR95: share of out-of-distribution images taken for in-distribution "
    "ones where 95 % of the in-distribution images are recognized as such."
)


@dataclass(frozen=True)
class Detection:
    """Metrics of a score, all in [0, 1].

    Attributes:
        auroc: area under the ROC curve: how often a random anomaly scores above a random normal image.
        aupr_in: average precision with in-distribution images as positives, ranked by the negative score.
        aupr_out: average precision with out-of-distribution images as positives.
        fpr95: false-positive rate at 95 % true positives, in-distribution images being the positives: the share of
            out-of-distribution images classified as in-distribution at the strictest threshold that at least 95 %
            of the in-distribution images pass. Lower is better.
        n_in: in-distribution images.
        n_out: out-of-distribution images.
    """

    auroc: float
    aupr_in: float
    aupr_out: float
    fpr95: float
    n_in: int
    n_out: int


def auroc(normal: Float64[np.ndarray, " N"], anomalous: Float64[np.ndarray, " A"]) -> float:
    """Return the area under the ROC curve with anomalies as positives.

    Args:
        normal: scores of normal images, higher = more anomalous; at least one.
        anomalous: scores of anomalies; at least one.
    """
    return float(roc_auc_score(_labels(normal, anomalous), np.concatenate([normal, anomalous])))


def detection(inside: Float64[np.ndarray, " N"], outside: Float64[np.ndarray, " A"]) -> Detection:
    """Return all metrics of a score.

    Args:
        inside: scores of in-distribution images, higher = more anomalous; at least one.
        outside: scores of out-of-distribution images; at least one.

    Example:
        >>> found = detection(np.array([0.1, 0.2, 0.3]), np.array([0.25, 0.9]))
        >>> round(found.auroc, 3), found.n_in, found.n_out
        (0.833, 3, 2)
    """
    is_out, scores = _labels(inside, outside), np.concatenate([inside, outside])
    false_positives, true_positives, _ = roc_curve(1 - is_out, -scores, drop_intermediate=False)
    return Detection(
        auroc=auroc(inside, outside),
        aupr_in=float(average_precision_score(1 - is_out, -scores)),
        aupr_out=float(average_precision_score(is_out, scores)),
        fpr95=float(false_positives[true_positives >= 0.95].min()),
        n_in=len(inside),
        n_out=len(outside),
    )


def roc(normal: Float64[np.ndarray, " N"], anomalous: Float64[np.ndarray, " A"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ROC curve with anomalies as positives: false-positive and true-positive rates."""
    false_positives, true_positives, _ = roc_curve(
        _labels(normal, anomalous), np.concatenate([normal, anomalous]), drop_intermediate=True
    )
    return false_positives, true_positives


def _labels(normal: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(len(normal), dtype=np.int64), np.ones(len(anomalous), dtype=np.int64)])
