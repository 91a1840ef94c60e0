"""The Cartesian Student-t likelihood against SciPy."""

from __future__ import annotations

import numpy as np
import pyro
import pytest
import scipy.stats
import torch
from pyro import poutine

from vje_ppl.models.likelihoods.cartesian_student_t import CartesianStudentT

N, D = 4, 5


def inputs(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    latent, target = torch.randn(2, N, D, generator=generator, dtype=dtype)
    return latent, torch.rand(N, D, generator=generator, dtype=dtype) + 0.1, 3 * target


def site(likelihood: CartesianStudentT, *arguments: torch.Tensor | None) -> dict:
    with poutine.trace() as traced, pyro.plate("images", N, dim=-1):
        likelihood(*arguments)
    traced.trace.compute_log_prob()
    nodes = traced.trace.nodes.items()
    ((name, found),) = [(name, node) for name, node in nodes if node["type"] == "sample" and name != "images"]
    assert name == "embedding"
    return found


@pytest.mark.parametrize("df", [0.5, 1.0, 30.0])
def test_site_equals_scipy(df):
    latent, scale, target = inputs()
    found = site(CartesianStudentT(df).double(), latent, scale, target)
    for i in range(N):
        shape = np.diag(scale[i].square().numpy())
        expected = scipy.stats.multivariate_t.logpdf(target[i].numpy(), latent[i].numpy(), shape, df)
        assert found["log_prob"][i].item() == pytest.approx(expected, rel=1e-10)


def test_observes_the_raw_embedding_itself():
    latent, scale, target = inputs()
    found = site(CartesianStudentT().double(), latent, scale, target)
    assert found["is_observed"]
    assert found["value"] is target
    assert (found["fn"].batch_shape, found["fn"].event_shape) == ((N,), (D,))


def test_draws_an_embedding_without_a_target():
    latent, scale, _ = inputs()
    found = site(CartesianStudentT().double(), latent, scale, None)
    assert (found["value"].shape, found["is_observed"]) == ((N, D), False)


def test_names_its_base_measure_and_learns_nothing_by_default():
    assert CartesianStudentT().base_measure == "cartesian"
    assert not list(CartesianStudentT().parameters())


def test_gradients_pass_gradcheck_with_learned_degrees_of_freedom():
    likelihood = CartesianStudentT(0.7, learn_df=True).double()
    (raw,) = likelihood.parameters()

    def log_prob(raw: torch.Tensor, *arguments: torch.Tensor) -> torch.Tensor:
        def program() -> None:
            torch.func.functional_call(likelihood, {"df.raw": raw}, arguments)

        with poutine.trace() as traced, pyro.plate("images", N, dim=-1):
            program()
        traced.trace.compute_log_prob()
        return traced.trace.nodes["embedding"]["log_prob"]

    start = raw.detach().clone().requires_grad_()
    arguments = tuple(tensor.requires_grad_() for tensor in inputs())
    assert torch.autograd.grad(log_prob(start, *arguments).sum(), start)[0].abs() > 1e-3
    assert torch.autograd.gradcheck(log_prob, (start, *arguments))


@pytest.mark.parametrize("length", [0.0, 1e-6, 1.0, 1e4])
@pytest.mark.parametrize("sigma", [1e-4, 1e2])
def test_values_and_gradients_are_finite_over_many_decades(sigma, length):
    latent, _, target = inputs(torch.float32)
    latent, scale = (length * latent).requires_grad_(), torch.full((N, D), sigma).requires_grad_()
    total = site(CartesianStudentT(0.1), latent, scale, target)["log_prob"].sum()
    assert torch.isfinite(total)
    for gradient in torch.autograd.grad(total, (latent, scale)):
        assert torch.isfinite(gradient).all()


def test_degrees_of_freedom_that_are_not_positive_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match="A Student-t expects positive degrees of freedom below infinity, got df=0"):
        CartesianStudentT(0.0)
