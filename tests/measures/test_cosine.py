"""Cosine distances, beside those of SciPy in float64, for vectors in all directions and for nearly parallel ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from vje_ppl.measures.anomaly.distances import Distances
from vje_ppl.measures.cosine import Directions, centre_of
from vje_ppl.measures.retrieval import nearest_other


def vectors(rows: int, width: int, spread: float) -> torch.Tensor:
    """Vectors of different lengths, within an angle of about `spread` of each other."""
    made = torch.ones(width) + spread * torch.randn(rows, width)
    return made * torch.rand(rows, 1).add(0.5)


@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-4])
def test_distances_are_scipys_in_float64(spread, monkeypatch):
    monkeypatch.setattr("vje_ppl.measures.cosine._CHUNK", 7)
    ours, others = vectors(20, 16, spread), vectors(30, 16, spread)
    centre = centre_of(others)
    found = Directions.of(ours, centre).distances(Directions.of(others, centre)).double().numpy()
    expected = cdist(ours.double().numpy(), others.double().numpy(), "cosine")
    # A few float32 roundings of values of the size of the largest squared offset, which is four distances at most
    np.testing.assert_allclose(found, expected, rtol=0, atol=16 * 2**-24 * 4 * expected.max())


def test_a_vector_of_zeros_is_at_distance_one():
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    centre = centre_of(features)
    between = Directions.of(features, centre).distances(Directions.of(features, centre))
    torch.testing.assert_close(between, torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]))


def test_nearly_parallel_embeddings_are_told_apart():
    training, images = vectors(200, 16, 1e-4), vectors(50, 16, 1e-4)
    found = Distances(training, 3, torch.device("cpu"))(images)
    expected = np.sort(cdist(images.double().numpy(), training.double().numpy(), "cosine"))
    np.testing.assert_allclose(found["nearest_cosine"], expected[:, 0], rtol=1e-4)
    np.testing.assert_allclose(found["knn_distance"], expected[:, :3].mean(1), rtol=1e-4)
    own = cdist(images.double().numpy(), images.double().numpy(), "cosine")
    np.fill_diagonal(own, np.inf)
    np.testing.assert_array_equal(nearest_other(images), own.argmin(1))
