"""RankMe and LiDAR against NumPy's and SciPy's decompositions, closed forms, and what they must not depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import eigh

from vje_ppl.measures.embedding_rank import EPSILON, RIDGE, lidar, rankme


def entropy_rank(values: np.ndarray) -> float:
    """exp(H) by the papers' formula, term by term."""
    shares = [value / sum(values) + EPSILON for value in values]
    return math.exp(-sum(share * math.log(share) for share in shares))


@pytest.mark.parametrize("shape", [(200, 7), (7, 200), (30, 30)], ids=str)
def test_rankme_is_that_of_numpys_singular_values(shape):
    rng = np.random.default_rng(0)
    z = (rng.normal(size=shape) * np.geomspace(1, 1e-3, shape[1]) + 0.3).astype(np.float32)
    expected = entropy_rank(np.linalg.svd(z.astype(np.float64), compute_uv=False))
    # A squared singular value has an error of eps times the largest one, so a singular value of sqrt(eps).
    assert rankme(torch.from_numpy(z)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dim", [1, 3, 16])
def test_rankme_counts_equal_directions(dim):
    z = torch.eye(16)[:, :dim].repeat(4, 1) * 5
    assert rankme(z) == pytest.approx(dim, rel=1e-4)


def test_rankme_of_two_unequal_directions_is_in_closed_form():
    z = torch.diag(torch.tensor([3.0, 1.0]))
    assert rankme(z) == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)), rel=1e-4)


def by_loops(z: np.ndarray) -> float:
    """LiDAR from sums over images and views, and SciPy's generalized eigenvalues."""
    images, views, dim = z.shape
    centre = z.reshape(-1, dim).mean(0)
    between, within = np.zeros((dim, dim)), RIDGE * np.eye(dim)
    for image in z:
        mean = image.mean(0)
        between += np.outer(mean - centre, mean - centre) / images
        for view in image:
            within += np.outer(view - mean, view - mean) / (images * (views - 1))
    return entropy_rank(np.clip(eigh(between, within, eigvals_only=True), 0, None))


@pytest.mark.parametrize("shape", [(40, 5, 6), (4, 3, 12), (9, 2, 3)], ids=str)
def test_lidar_is_that_of_scipys_generalized_eigenvalues(shape):
    rng = np.random.default_rng(1)
    means = rng.normal(size=(shape[0], 1, shape[2])) * np.geomspace(3, 0.1, shape[2])
    z = (means + rng.normal(size=shape) * rng.uniform(0.2, 1, shape[2]) + 5).astype(np.float32)
    assert lidar(torch.from_numpy(z)) == pytest.approx(by_loops(z.astype(np.float64)), rel=1e-6)


def test_lidar_counts_directions_in_units_of_the_variance_within_images():
    # Two directions whose variances between and within images have the same ratio, though one is ten times as long.
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    z = 4 * corners[:, None] + corners[None]
    assert lidar(z * torch.tensor([10.0, 1.0]), ridge=1e-12) == pytest.approx(2, rel=1e-4)
    assert lidar(z * torch.tensor([1.0, 0.0]), ridge=1e-12) == pytest.approx(1, rel=1e-4)


def test_neither_depends_on_a_rotation_or_the_order_of_images():
    z = torch.randn(50, 4, 8, dtype=torch.float64) + 2 * torch.randn(50, 1, 8, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))
    other = z[torch.randperm(50)] @ turn
    assert lidar(other) == pytest.approx(lidar(z), rel=1e-9)
    assert rankme(other[:, 0]) == pytest.approx(rankme(z[:, 0]), rel=1e-6)  # by roots of eigenvalues


def test_embeddings_without_directions_have_rank_zero():
    assert rankme(torch.zeros(5, 3)) == 0
    assert lidar(torch.ones(5, 2, 3)) == 0


def test_a_number_that_is_not_finite_gives_nan():
    assert math.isnan(rankme(torch.full((5, 3), torch.inf)))
    assert math.isnan(lidar(torch.full((5, 2, 3), torch.nan)))
