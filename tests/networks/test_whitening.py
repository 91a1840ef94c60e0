"""Embeddings without correlations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vje_ppl.networks.whitening import LEAST_VARIANCE, SHRINKAGE, WhiteningLayer


def correlated(images: int, dim: int, seed: int = 0) -> torch.Tensor:
    """Rows in float64 with a mean and covariance far from those of white noise."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    return torch.randn(images, dim, generator=generator, dtype=torch.float64) @ mixing + 5


@pytest.mark.parametrize(("dim", "group"), [(6, 6), (6, 3), (6, 1)])
def test_products_of_whitened_rows_are_those_of_mahalanobis(dim, group):
    """Whatever root of the covariance whitens, z zᵀ = (h − m)ᵀ (Σ + δ)⁻¹ (h − m), summed over groups."""
    rows = correlated(200, dim)
    z = WhiteningLayer(dim, group)(rows)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-12)
    expected = np.zeros((200, 200))
    for first in range(0, dim, group):
        part = rows[:, first : first + group].numpy()
        covariance = np.atleast_2d(np.cov(part.T))
        added = SHRINKAGE * np.trace(covariance) / group + LEAST_VARIANCE
        centred = part - part.mean(0)
        expected += centred @ np.linalg.inv(covariance + added * np.eye(group)) @ centred.T
    np.testing.assert_allclose(z @ z.T, expected, rtol=1e-9, atol=1e-9)


def test_gradients_flow_through_the_statistics_of_the_batch():
    whitening = WhiteningLayer(4, 2).double()
    assert torch.autograd.gradcheck(whitening, correlated(7, 4).requires_grad_())


def test_evaluation_whitens_by_running_averages_and_not_by_its_batch():
    whitening, rows = WhiteningLayer(6, 3), correlated(4000, 6).float()
    assert torch.equal(whitening.eval()(rows), rows)  # before any training
    whitening.train()
    for batch in rows.split(100) * 2:
        whitening(batch)
    whitening.eval()
    z = whitening(rows)
    torch.testing.assert_close(z.mean(0), torch.zeros(6), rtol=0, atol=0.1)
    for first in (0, 3):
        torch.testing.assert_close(z[:, first : first + 3].T.cov(), torch.eye(3), rtol=0, atol=0.2)
    torch.testing.assert_close(whitening(rows[:1]), z[:1])  # whatever else is in the batch


def test_computes_in_float32_under_autocast():
    rows = correlated(100, 4)
    with torch.autocast("cpu", torch.bfloat16):
        z = WhiteningLayer(4, 4)(rows.bfloat16())
    assert z.dtype == torch.float32
    torch.testing.assert_close(z, WhiteningLayer(4, 4)(rows.bfloat16().float()))


@pytest.mark.parametrize("images", [1, 2, 50])
def test_features_that_do_not_vary_stay_finite(images):
    rows = torch.full((images, 4), 3.0, requires_grad=True)
    z = WhiteningLayer(4, 2)(rows)
    z.square().sum().backward()
    assert (z == 0).all()
    assert torch.isfinite(rows.grad).all()


@pytest.mark.parametrize("group", [0, 4, 7])
def test_a_group_divides_the_features(group):
    with pytest.raises(ValueError, match=f"got {group}; give one of 2, 3, 6"):
        WhiteningLayer(6, group)
