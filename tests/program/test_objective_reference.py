"""The objective's value and gradient against plain torch, written by hand from the definitions."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor

from tests.helpers.programs import GivenNoise, LearnedNormal, small_guide, small_model
from vje_ppl import SymmetricConditionalELBO
from vje_ppl.distributions import DiagonalStudentT
from vje_ppl.models.likelihoods.polar_student_t import factorized
from vje_ppl.models.radius_scales import projected, unit
from vje_ppl.models.scales import Free, Tied

N, D, DF, RADIUS_DF = 5, 4, 1.5, 3.0
SCALES = {"tied": Tied, "detached": lambda: Tied(detach=True), "free": lambda: Free(D, 0.7)}


def student_t(x: Tensor, loc: Tensor, scale: Tensor | float, df: float) -> Tensor:
    """Log density of the Student-t of one dimension."""
    constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    scale = torch.as_tensor(scale, dtype=x.dtype)
    return constant - torch.log(scale) - (df + 1) / 2 * torch.log(1 + ((x - loc) / scale) ** 2 / df)


def joint_student_t(x: Tensor, loc: Tensor, scale: Tensor, df: float) -> Tensor:
    """Log density of the Student-t of D dimensions with scale matrix diag(scale²)."""
    dim = x.shape[-1]
    constant = math.lgamma((df + dim) / 2) - math.lgamma(df / 2) - dim / 2 * math.log(df * math.pi)
    squared = (((x - loc) / scale) ** 2).sum(-1)
    return constant - torch.log(scale).sum(-1) - (df + dim) / 2 * torch.log(1 + squared / df)


def reference(
    views: list[Tensor],
    guide,
    model,
    noise: Tensor,
    beta: float,
    scale: str,
    joint: bool,
    is_projected: bool,
    detach_target: bool = True,
) -> Tensor:
    """The loss, direction by direction and particle by particle."""
    linear_in, norm, _, linear_out = guide.network.layers
    means, sigmas = [], []
    for view in views:
        hidden = view @ linear_in.weight.T
        centred = hidden - hidden.mean(0)
        hidden = centred / torch.sqrt((centred**2).mean(0) + 1e-5) * norm.weight + norm.bias
        output = torch.relu(hidden) @ linear_out.weight.T + linear_out.bias
        means.append(output[:, :D])
        log_variance = -2 + 6 * torch.tanh((output[:, D:] + 2) / 6)
        sigmas.append(torch.exp(log_variance / 2))
    prior_loc, prior_scale = model.prior.loc, torch.exp(model.prior.scale_unconstrained)
    total = torch.zeros((), dtype=torch.float64)
    pairs = list(permutations(range(len(views)), 2))
    for number, (source, other) in enumerate(pairs):
        mean, sigma = means[source], sigmas[source]
        target = views[other].detach() if detach_target else views[other]
        target_radius = torch.sqrt((target**2).sum(-1))
        kl = (
            torch.log(prior_scale)
            - torch.log(sigma)
            + (sigma**2 + (mean - prior_loc) ** 2) / (2 * prior_scale**2)
            - 0.5
        ).sum(-1)
        likelihood = torch.zeros(N, dtype=torch.float64)
        for particle in noise:
            latent = mean + sigma * particle[number]
            radius = torch.sqrt((latent**2).sum(-1))
            direction = latent / radius[:, None]
            shared = {"tied": sigma, "detached": sigma.detach()}.get(scale)
            if shared is None:
                shared = torch.exp(model.scale.log_value) * torch.ones(N, D, dtype=torch.float64)
            observed = target / target_radius[:, None]
            if joint:
                likelihood = likelihood + joint_student_t(observed, direction, shared, DF)
            else:
                likelihood = likelihood + student_t(observed, direction, shared, DF).sum(-1)
            spread = torch.sqrt(((direction * shared) ** 2).sum(-1)) if is_projected else 1.0
            likelihood = likelihood + student_t(target_radius, radius, spread, RADIUS_DF)
        total = total + (likelihood / len(noise) - beta * kl).mean()
    return -total / len(pairs) / D


@pytest.mark.parametrize("num_views", [2, 3], ids=["two_views", "three_views"])
@pytest.mark.parametrize("particles", [1, 3], ids=["one_particle", "three_particles"])
@pytest.mark.parametrize("beta", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("is_projected", [False, True], ids=["unit", "projected"])
@pytest.mark.parametrize("joint", [True, False], ids=["joint", "factorized"])
@pytest.mark.parametrize("scale", SCALES)
def test_value_and_gradient_equal_plain_torch(scale, joint, is_projected, beta, particles, num_views):
    guide = small_guide(D)
    model = small_model(
        D,
        LearnedNormal(D),
        SCALES[scale](),
        DiagonalStudentT if joint else factorized,
        projected if is_projected else unit,
    )
    views = [torch.randn(N, D).double().requires_grad_() for _ in range(num_views)]
    noise = torch.randn(particles, num_views * (num_views - 1), N, D).double()
    with GivenNoise(noise if particles > 1 else noise[0]):
        loss = SymmetricConditionalELBO(beta, particles).differentiable_loss(model, guide, *views)
    expected = reference(views, guide, model, noise, beta, scale, joint, is_projected)
    # Both sum the same few thousand numbers in float64; 1e-6 is what users are promised.
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-10)
    inputs = [*views, *guide.parameters(), *model.parameters()]
    ours = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
    theirs = torch.autograd.grad(expected, inputs, allow_unused=True, materialize_grads=True)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO], ids=["trace", "trace_mean_field"])
@pytest.mark.parametrize("scale", SCALES)
def test_each_direction_equals_pyros_own_elbo(scale, elbo):
    guide, model = small_guide(D), small_model(D, LearnedNormal(D), SCALES[scale]())
    views, noise = [torch.randn(N, D).double() for _ in range(2)], torch.randn(2, N, D).double()
    with GivenNoise(noise):
        terms = SymmetricConditionalELBO().terms(model, guide, *views)
    for number, (source, other) in enumerate(permutations(range(2), 2)):
        posterior = guide.infer(views[source])
        with GivenNoise(noise[number]):
            loss = elbo().differentiable_loss(model, guide, posterior, views[other])
        expected = -loss.detach()
        if elbo is Trace_ELBO:  # which takes log q - log p of the draws where we take the closed form
            latent, prior = terms.latent[number], model.prior()
            expected = expected + (posterior.distribution().log_prob(latent) - prior.log_prob(latent)).sum().detach()
            expected = expected - terms.kl[number].sum().detach()
        torch.testing.assert_close(terms.elbo[number].sum().detach(), expected, rtol=1e-10, atol=1e-10)


def test_gradient_reaches_targets_that_are_not_detached():
    guide, model = small_guide(D), small_model(D, LearnedNormal(D))
    views = [torch.randn(N, D).double().requires_grad_() for _ in range(2)]
    noise = torch.randn(1, 2, N, D).double()
    with GivenNoise(noise[0]):
        loss = SymmetricConditionalELBO(0.3, detach_target=False).differentiable_loss(model, guide, *views)
    expected = reference(views, guide, model, noise, 0.3, "tied", joint=True, is_projected=False, detach_target=False)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-10)
    ours, theirs = torch.autograd.grad(loss, views), torch.autograd.grad(expected, views)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
