"""objective.compile: the same values and gradients, and the same run name while it is off."""

from __future__ import annotations

import shutil

import jaxtyping
import pyro
import pytest
import torch

from tests.helpers.cases import built

HAS_COMPILER = any(shutil.which(name) for name in ("c++", "g++", "clang++"))


def _loss_and_gradient(*overrides):
    torch.manual_seed(0)
    module = built(*overrides, dim=16)
    generator = torch.Generator().manual_seed(2)
    views = [torch.randn(32, 1, 4, 4, generator=generator) for _ in range(2)]
    torch.manual_seed(1)
    loss = module(*views).loss
    loss.backward()
    return loss.detach(), torch.cat([one.grad.flatten() for one in module.parameters() if one.grad is not None])


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # by the compiler itself
@pytest.mark.skipif(not HAS_COMPILER, reason="torch.compile needs a C++ compiler, and there is none")
def test_compiled_densities_have_the_same_values_and_gradients(monkeypatch):
    pyro.enable_validation(False)  # as in training
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the checks do not survive compilation
    plain, gradient = _loss_and_gradient()
    compiled, other = _loss_and_gradient("objective.compile=true")
    # Sums of 16 numbers of order ten in float32, in another order: about 16 roundings of 6e-8 each, per dimension.
    torch.testing.assert_close(compiled, plain, rtol=16 * 6e-8, atol=160 * 6e-8)
    scale = torch.linalg.vector_norm(gradient)
    assert torch.linalg.vector_norm(other - gradient) < 1e-4 * scale  # of sums over 32 images, which partly cancel
