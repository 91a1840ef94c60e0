"""Whitening, against SciPy's Mahalanobis distance, spectra that are known, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from vje_ppl.measures import whitening
from vje_ppl.measures.knn import accuracy, knn_ranks
from vje_ppl.measures.whitening import Whitening


def correlated(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64) @ mixing + 3.0


@pytest.mark.parametrize(("count", "dim"), [(500, 5), (40, 8)], ids=["many images", "few images"])
def test_distances_from_the_mean_are_mahalanobis(count, dim):
    bank, others = correlated(count, dim), correlated(30, dim, seed=1)
    found = Whitening.of(bank)(others).double().square().sum(1)
    inverse = np.linalg.inv(np.cov(bank.numpy().T, bias=True))
    expected = cdist(others.numpy(), bank.numpy().mean(0)[None], "mahalanobis", VI=inverse)[:, 0] ** 2
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-5, atol=0)  # whitened features are float32


def test_the_training_features_come_out_uncorrelated():
    bank = correlated(50, 4)
    found = torch.cov(Whitening.of(bank)(bank).double().T, correction=0)
    torch.testing.assert_close(found, torch.eye(4).double(), rtol=0, atol=1e-6)  # whitened features are float32


@pytest.mark.parametrize(
    ("variances", "expected"), [((1, 1, 1, 1), 4), ((1, 1, 0, 0), 2), ((5, 0, 0, 0), 1), ((2, 1, 0, 0), 1.8)]
)
def test_the_participation_ratio_counts_directions(variances, expected):
    signs = torch.tensor(np.array(np.meshgrid(*[[-1.0, 1.0]] * 4)).reshape(4, -1).T)  # uncorrelated, of variance one
    turn = torch.linalg.qr(correlated(4, 4))[0]
    bank = signs * torch.tensor(variances).double().sqrt() @ turn + 7.0
    assert Whitening.of(bank).participation_ratio == pytest.approx(expected, rel=1e-9)


def test_features_that_do_not_vary_come_out_as_zeros():
    found = Whitening.of(torch.full((10, 3), 0.1))
    assert found.participation_ratio == 0
    assert found(torch.randn(5, 3)).eq(0).all()


@pytest.mark.parametrize("count", [6, 50], ids=["fewer images than features", "more"])
def test_directions_that_the_training_images_do_not_have_are_left_out(count):
    bank = torch.cat([correlated(count, 7), torch.full((count, 2), 0.1).double()], 1)
    found = Whitening.of(bank)
    assert found.matrix.shape == (9, min(7, count - 1))
    others = bank.clone()
    others[:, 7:] += 1e3
    torch.testing.assert_close(found(others), found(bank), rtol=0, atol=1e-4)  # 1e3 at double's and float32's rounding


def test_images_are_flattened():
    images = torch.randint(0, 256, (50, 1, 2, 3), dtype=torch.uint8)
    assert torch.equal(Whitening.of(images)(images), Whitening.of(images.flatten(1))(images.flatten(1)))


def test_large_sets_are_thinned_evenly(monkeypatch):
    monkeypatch.setattr(whitening, "MOST", 40)
    bank = correlated(100, 3)
    found = Whitening.of(bank)
    assert found.images == 34
    assert torch.equal(found.matrix, Whitening.of(bank[::3]).matrix)


def test_k_nn_finds_a_class_that_hides_in_a_direction_of_little_variance():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (600,), generator=generator)
    loud = 100 * torch.randn(600, 2, generator=generator)
    quiet = (2.0 * labels - 1)[:, None] + 0.1 * torch.randn(600, 1, generator=generator)
    features = torch.cat([loud, quiet], 1)
    whitened = Whitening.of(features[:400])(features)

    def top1(rows: torch.Tensor) -> float:
        one, other = (rows[:400], labels[:400]), (rows[400:], labels[400:])
        return accuracy(knn_ranks(*one, *other, k=20, temperature=0.1, num_classes=2)[1])

    assert top1(features) < 0.65  # 0.5, and four standard errors for 200 queries
    assert top1(whitened) > 0.95
