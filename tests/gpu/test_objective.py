"""The objective's value and gradient on the device are those on the CPU."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from tests.helpers.cases import GUIDES, LIKELIHOODS, PRIORS, built
from tests.helpers.programs import GivenNoise

DIM, IMAGES = 16, 32


def _value_and_gradient(module, views, noise, device, dtype):
    module = deepcopy(module).to(device)
    with (
        torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16),
        GivenNoise(noise.to(device)),
    ):
        loss = module(*(view.to(device) for view in views)).loss
    loss.backward()
    gradients = {name: one.grad.cpu() for name, one in module.named_parameters() if one.grad is not None}
    return loss.detach().cpu(), gradients


def _norm(tensors):
    return torch.linalg.vector_norm(torch.cat([one.flatten() for one in tensors]))


def _inputs():
    generator = torch.Generator().manual_seed(1)
    views = [torch.randn(IMAGES, 1, 4, 4, generator=generator) for _ in range(2)]
    return views, torch.randn(2, IMAGES, DIM, generator=generator)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=str)
def test_value_and_gradient_are_those_of_the_cpu_in_float32(device, likelihood):
    module, (views, noise) = built(likelihood=likelihood, dim=DIM), _inputs()
    theirs, expected = _value_and_gradient(module, views, noise, torch.device("cpu"), torch.float32)
    ours, found = _value_and_gradient(module, views, noise, device, torch.float32)
    # Sums of up to 128 numbers, in another order, through six layers: some hundred roundings of 6e-8.
    torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=2e-5)
    assert found.keys() == expected.keys()
    error = _norm([found[name] - expected[name] for name in expected])
    assert error < 1e-3 * _norm(list(expected.values()))


def test_value_and_gradient_are_those_of_the_cpu_in_bf16(device):
    module, (views, noise) = built(dim=DIM), _inputs()
    theirs, expected = _value_and_gradient(module, views, noise, torch.device("cpu"), torch.bfloat16)
    ours, found = _value_and_gradient(module, views, noise, device, torch.bfloat16)
    exact, _ = _value_and_gradient(module, views, noise, torch.device("cpu"), torch.float32)
    # The network alone is in bf16, whose numbers have a relative error of 2⁻⁹; a dozen of them follow each other. The
    # loss is a mean of normalized quantities of order one.
    tolerance = 12 * 2.0**-9
    assert abs(ours - theirs) < tolerance
    assert abs(ours - exact) < tolerance
    error = _norm([found[name].float() - expected[name].float() for name in expected])
    assert error < 4 * tolerance * _norm([one.float() for one in expected.values()])


@pytest.mark.parametrize("case", [*PRIORS, *GUIDES], ids=str)
def test_every_prior_and_guide_has_a_finite_step(device, case):
    kind = "prior" if case in PRIORS else "guide"
    module = built(**{kind: case}, dim=DIM).to(device)
    views, _ = _inputs()
    terms = module(*(view.to(device) for view in views))
    terms.loss.backward()
    assert terms.loss.device.type == device.type
    assert torch.isfinite(terms.loss)
    for name, parameter in module.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
