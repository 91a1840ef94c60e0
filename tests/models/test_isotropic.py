"""The geometric mean of scales."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import torch

from vje_ppl.models.isotropic import geometric_mean
from vje_ppl.numpyro_port import isotropic as port


def scales(*shape: int) -> torch.Tensor:
    """Over the six decades from 1e-4 to 1e2."""
    generator = torch.Generator().manual_seed(0)
    return torch.pow(10.0, 6 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 4)


@pytest.mark.parametrize("dim", [1, 2, 64, 2048])
def test_equals_scipy(dim):
    scale = scales(3, 4, dim)
    found = geometric_mean(scale)
    np.testing.assert_allclose(found.numpy(), scipy.stats.gmean(scale.numpy(), axis=-1), rtol=1e-12)


@pytest.mark.parametrize("dim", [2, 2048])
def test_neither_overflows_nor_underflows_in_float32(dim):
    for extreme in (1e-4, 1e2):
        scale = torch.full((3, dim), extreme).requires_grad_()
        found = geometric_mean(scale)
        # A rounding of log σ, which is below 10, by 6e-8 moves σ by 6e-7 of itself.
        torch.testing.assert_close(found, torch.full((3,), extreme), rtol=2e-6, atol=0)
        found.sum().backward()
        torch.testing.assert_close(scale.grad, torch.full((3, dim), 1 / dim), rtol=1e-5, atol=0)


def test_passes_gradcheck():
    assert torch.autograd.gradcheck(geometric_mean, (scales(3, 4).clamp_min(0.1).requires_grad_(),))


def test_equals_its_twin():
    scale = scales(3, 4, 16)
    with jax.enable_x64(True):
        theirs = np.asarray(port.geometric_mean(jnp.asarray(scale.numpy())))
    np.testing.assert_allclose(geometric_mean(scale).numpy(), theirs, rtol=1e-13)
