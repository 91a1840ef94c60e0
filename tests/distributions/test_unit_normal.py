"""The standard normal of R^D against the one that Pyro spells out."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import constraints, kl_divergence

from vje_ppl.distributions import UnitNormal


def spelled_out(dim: int, like: torch.Tensor) -> dist.TorchDistribution:
    return dist.Normal(like.new_zeros(()), like.new_ones(())).expand([dim]).to_event(1)


OPERATIONS = {
    "as_it_is": lambda d: d,
    "expand": lambda d: d.expand((3, 2)),
    "expand_twice": lambda d: d.expand((2,)).expand((3, 2)),
    "mask": lambda d: d.expand((3, 2)).mask(torch.tensor([True, False])),
    "to_event": lambda d: d.expand((3, 2)).to_event(1),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_behaves_as_the_normal_of_pyro(operation, dtype):
    like = torch.zeros((), dtype=dtype)
    ours, theirs = operation(UnitNormal(4, like)), operation(spelled_out(4, like))
    assert (ours.batch_shape, ours.event_shape) == (theirs.batch_shape, theirs.event_shape)
    assert ours.has_rsample
    value = torch.randn(3, 2, 4, dtype=dtype)
    assert torch.equal(ours.log_prob(value), theirs.log_prob(value))
    torch.manual_seed(1)
    drawn = ours.rsample((5,))
    torch.manual_seed(1)
    assert torch.equal(drawn, theirs.rsample((5,)))
    assert drawn.dtype == dtype
    assert torch.equal(ours.mean, theirs.mean)
    assert torch.equal(ours.variance, theirs.variance)


def test_stays_what_it_is_when_a_plate_expands_it():
    with pyro.poutine.trace() as traced, pyro.plate("images", 5):
        pyro.sample("latent", UnitNormal(3, torch.zeros(())))
    fn = traced.trace.nodes["latent"]["fn"]
    assert isinstance(fn, UnitNormal)
    assert (fn.batch_shape, fn.event_shape) == ((5,), (3,))


def test_support_and_shape_are_those_of_vectors():
    distribution = UnitNormal(3, torch.zeros(()), torch.Size([2]))
    assert distribution.shape((7,)) == (7, 2, 3)
    assert distribution.support.event_dim == constraints.real_vector.event_dim == 1


def test_gradients_of_the_divergence_are_right_to_second_order():
    def kl(loc: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
        q = dist.Normal(loc, log_scale.exp()).to_event(1)
        return kl_divergence(q, UnitNormal(5, loc, torch.Size([3])))

    loc, log_scale = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in [(3, 5), (3, 1)])
    assert torch.autograd.gradcheck(kl, (loc, log_scale))
    assert torch.autograd.gradgradcheck(kl, (loc, log_scale))
