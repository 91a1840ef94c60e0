import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

from vje_ppl.errors import UserError
from vje_ppl.measures.anomaly.distances import Distances

CPU = torch.device("cpu")


@pytest.mark.parametrize("width", [5, 40], ids=["more-images-than-features", "fewer-images-than-features"])
@pytest.mark.parametrize("neighbours", [1, 4])
def test_distances_are_scikit_learns(width, neighbours):
    bank, queries = torch.randn(30, width) + 1, 2 * torch.randn(1100, width)
    found = Distances(bank, neighbours, CPU)(queries)

    peer = NearestNeighbors(n_neighbors=neighbours, metric="cosine", algorithm="brute").fit(bank.double().numpy())
    distances = peer.kneighbors(queries.double().numpy())[0]
    np.testing.assert_allclose(found["knn_distance"], distances.mean(1), atol=1e-5)
    np.testing.assert_allclose(found["nearest_cosine"], distances[:, 0], atol=1e-5)
    gaussian = LedoitWolf().fit(bank.double().numpy())
    expected = np.sqrt(gaussian.mahalanobis(queries.double().numpy()))
    np.testing.assert_allclose(found["mahalanobis"], expected, rtol=1e-5)


@pytest.mark.parametrize("width", [5, 40], ids=["more-images-than-features", "fewer-images-than-features"])
def test_ssd_is_scikit_learns_distance_of_standardized_directions(width):
    bank, queries = torch.randn(30, width) + 1, 2 * torch.randn(50, width)
    bank[:, 0] = 0  # a feature that never varies
    ours, theirs = ((one / one.norm(dim=1, keepdim=True)).double().numpy() for one in (bank, queries))
    deviation = np.where(ours.std(0) > 0, ours.std(0), 1)
    gaussian = LedoitWolf().fit((ours - ours.mean(0)) / deviation)
    expected = np.sqrt(gaussian.mahalanobis((theirs - ours.mean(0)) / deviation))
    np.testing.assert_allclose(Distances(bank, 1, CPU)(queries)["ssd"], expected, rtol=1e-4)


def test_csi_is_the_largest_cosine_times_the_length():
    bank = torch.tensor([[3.0, 4.0], [0.0, 2.0], [-1.0, 0.0]])
    queries = torch.tensor([[6.0, 8.0], [0.0, 0.5], [3.0, 0.0], [0.0, 0.0]])
    found = Distances(bank, 5, CPU)(queries)["csi"]
    np.testing.assert_allclose(found, [-10, -0.5, -1.8, 0], atol=1e-6)


def test_raw_pixels_of_large_images_have_no_ssd():
    assert set(Distances(torch.rand(3, 3, 27, 27), 1, CPU)(torch.rand(2, 3, 27, 27))) == {
        *("knn_distance", "nearest_cosine", "mahalanobis", "csi")
    }


def test_farther_is_more_anomalous():
    bank = torch.randn(200, 3) * 0.1 + torch.tensor([1.0, 0.0, 0.0])
    near, far = torch.tensor([[1.0, 0.05, 0.0]]), torch.tensor([[-1.0, 2.0, 0.0]])
    scores = Distances(bank, 5, CPU)
    for name, value in scores(near).items():
        assert value < scores(far)[name], name


def test_there_are_no_more_neighbours_than_training_images():
    yardsticks = Distances(torch.randn(3, 4), 10, CPU)
    assert yardsticks.neighbours == 3
    assert yardsticks.kind("knn_distance", "z", "clean", 0).row["k"] == 3


def test_identical_and_zero_features_give_numbers():
    for bank in (torch.ones(6, 4), torch.zeros(6, 4)):
        for value in Distances(bank, 2, CPU)(torch.randn(5, 4)).values():
            assert value.isfinite().all()


def test_bytes_of_images_are_flattened():
    images = torch.randint(0, 256, (9, 1, 3, 3), dtype=torch.uint8)
    assert Distances(images, 1, CPU)(images)["nearest_cosine"].abs().max() < 1e-5


def test_one_training_image_is_not_enough():
    with pytest.raises(UserError, match="at least 2 training images, got 1"):
        Distances(torch.ones(1, 4), 1, CPU)


def test_training_features_that_are_not_finite_are_named():
    with pytest.raises(UserError, match="of 1 of 3 training images are not finite"):
        Distances(torch.tensor([[1.0, 2.0], [torch.nan, 1.0], [0.0, 1.0]]), 1, CPU)
