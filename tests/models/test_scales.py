"""What ties the likelihood's scale to the posterior's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pyro
import pytest
import torch

from vje_ppl.models.scales import Free, Isotropic, Tied
from vje_ppl.numpyro_port import scales as port


def test_tied_is_the_posteriors_scale_with_its_gradient():
    scale = torch.rand(2, 3, 4, requires_grad=True)
    assert Tied()(scale) is scale


def test_tied_and_detached_is_a_constant():
    scale = torch.rand(2, 3, 4, requires_grad=True)
    tied = Tied(detach=True)(scale)
    assert torch.equal(tied, scale)
    assert not tied.requires_grad


def test_tied_has_no_parameter():
    assert not list(Tied().parameters())


def test_isotropic_is_one_scale_an_image_of_the_determinant_of_the_posteriors():
    scale = torch.logspace(-4, 2, 24).double().reshape(2, 3, 4)[..., torch.randperm(4)]
    isotropic = Isotropic()(scale)
    assert isotropic.shape == scale.shape
    assert torch.equal(isotropic, isotropic[..., :1].expand_as(scale))
    torch.testing.assert_close(isotropic.prod(-1), scale.prod(-1), rtol=1e-12, atol=0)
    assert len(isotropic[..., 0].unique()) == 6


def test_isotropic_of_equal_scales_is_that_scale():
    scale = torch.full((2, 3, 2048), 0.3).double()
    torch.testing.assert_close(Isotropic()(scale), scale, rtol=1e-12, atol=0)


def test_isotropic_passes_its_gradient_to_the_posterior_and_has_no_parameter():
    scale = (torch.rand(2, 3, 4).double() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(Isotropic(), (scale,))
    assert not list(Isotropic().parameters())


def test_isotropic_equals_its_twin():
    scale = torch.rand(2, 3, 5) + 0.1
    with jax.enable_x64(True):
        theirs = np.asarray(port.Isotropic()(jnp.asarray(scale.double().numpy())))
    np.testing.assert_allclose(Isotropic()(scale.double()).numpy(), theirs, rtol=1e-14)


@pytest.mark.parametrize("init", [0.01, 1.0, 3.5])
def test_free_is_one_learned_positive_number_a_feature(init):
    free, scale = Free(4, init), torch.rand(2, 3, 4, requires_grad=True)
    value = free(scale)
    torch.testing.assert_close(value, torch.full((2, 3, 4), init))
    value.sum().backward()
    assert scale.grad is None
    (parameter,) = free.parameters()
    assert parameter.shape == (4,)
    assert (parameter.grad > 0).all()


def test_free_stays_positive_under_large_steps():
    free = Free(4)
    optimizer = torch.optim.SGD(free.parameters(), lr=10.0)
    for sign in (1, 1, -1):
        optimizer.zero_grad()
        (sign * free(torch.ones(1, 1, 4)).log()).sum().backward()
        optimizer.step()
        assert (free(torch.ones(1, 1, 4)) > 0).all()


def test_free_of_a_second_model_does_not_take_over_what_the_first_learned():
    scale = torch.ones(1, 1, 4)
    first, second = Free(4, 1.0), Free(4, 2.0)
    assert torch.equal(first(scale), scale)
    torch.testing.assert_close(second(scale), 2 * scale)
    assert not any(value.shape == (4,) and (value == 2).all() for value in dict(pyro.get_param_store()).values())


@pytest.mark.parametrize("init", [0.0, -1.0, float("nan")])
def test_free_refuses_a_start_that_is_not_positive(init):
    with pytest.raises(ValueError, match="Free expects a positive initial scale, got"):
        Free(4, init)
