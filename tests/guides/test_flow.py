"""The flow guide: its base, its start, its KL and gradients, its moments."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

from vje_ppl import SymmetricConditionalELBO
from vje_ppl.distributions import UnitNormal
from vje_ppl.distributions.kl import closed_form_kl
from vje_ppl.guides.diagonal_normal import DiagonalNormalPosterior
from vje_ppl.guides.flow import Flow, FlowPosterior
from vje_ppl.models.likelihoods.polar_student_t import PolarStudentT
from vje_ppl.models.priors.standard_normal import StandardNormal
from vje_ppl.models.vje import VJE
from vje_ppl.program.noise import KeyedNoise

N, D = 6, 4


def guide(size: float | None = None) -> Flow:
    """A guide in float64 with a linear network; with a size, its flow is far from the identity."""
    made = Flow(D, network=nn.Linear).double()
    for layer in made.flow.layers if size is not None else ():
        nn.init.normal_(layer.output.weight, std=size)
        nn.init.normal_(layer.output.bias, std=size)
    return made


def model() -> VJE:
    return VJE(StandardNormal(D), PolarStudentT()).double()


def embeddings(count: int = 2) -> list[Tensor]:
    return [torch.randn(N, D).double() for _ in range(count)]


def test_infers_the_bases_mean_and_bounded_scale_and_its_own_flow():
    made, embedding = Flow(D, log_variance_bounds=(-2.0, 1.0)).eval(), torch.randn(N, D)
    posterior = made.infer(embedding)
    mean, raw = made.network(embedding).split(D, dim=-1)
    assert torch.equal(posterior.mean, mean)
    assert torch.equal(posterior.scale, made.bounded_scale(raw))
    assert posterior.flow is made.flow
    assert {field.name for field in fields(posterior)} == {"mean", "scale", "flow"}


def test_density_is_that_of_the_base_changed_by_the_flow():
    posterior = guide(0.5).infer(embeddings()[0])
    x = DiagonalNormalPosterior(posterior.mean, posterior.scale).distribution().sample()

    def moved(base: Tensor) -> Tensor:
        """s = μ + σ f((x − μ)/σ; μ), of one image."""
        noise = (base - posterior.mean[0]) / posterior.scale[0]
        return posterior.mean[0] + posterior.scale[0] * posterior.flow(noise, posterior.mean[0])[0]

    base = DiagonalNormalPosterior(posterior.mean[:1], posterior.scale[:1]).distribution()
    jacobian = torch.autograd.functional.jacobian(moved, x[0])
    expected = base.log_prob(x[:1]) - torch.linalg.slogdet(jacobian).logabsdet
    one = FlowPosterior(posterior.mean[:1], posterior.scale[:1], posterior.flow)
    torch.testing.assert_close(one.distribution().log_prob(moved(x[0])[None]), expected)


def test_starts_close_to_the_diagonal_normal():
    embedding = torch.randn(N, 64)
    posterior = Flow(64).eval().infer(embedding)
    diagonal = DiagonalNormalPosterior(posterior.mean, posterior.scale).distribution()
    draws = diagonal.sample((2000,))
    with torch.no_grad():
        kl = (diagonal.log_prob(draws) - posterior.distribution().log_prob(draws)).mean(0)
    assert (kl < 0.01 * 64).all()


def test_every_parameter_gets_a_gradient_at_the_first_step():
    made = Flow(64, network=nn.Linear)
    likelihood = VJE(StandardNormal(64), PolarStudentT())
    SymmetricConditionalELBO()(likelihood, made)(*torch.randn(2, N, 64)).backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad.abs().max() > 1e-6, name


def test_kl_is_that_of_the_draws_and_none_in_closed_form():
    made, (one, other) = guide(0.5), embeddings()
    terms = SymmetricConditionalELBO().terms(model(), made, one, other)
    posterior, prior = made.infer(one), UnitNormal(D, one)
    assert closed_form_kl(posterior.distribution(), prior) is None
    latent = terms.latent[0]
    torch.testing.assert_close(terms.kl[0], posterior.distribution().log_prob(latent) - prior.log_prob(latent))


@pytest.mark.parametrize("particles", [1, 3], ids=["one_particle", "three_particles"])
def test_gradients_are_those_of_the_loss_with_its_noise_held_fixed(particles):
    made, views = guide(0.5), embeddings(3)
    objective = SymmetricConditionalELBO(beta=0.7, num_particles=particles)

    def loss() -> Tensor:
        with KeyedNoise(0, 0):
            return objective.differentiable_loss(model(), made, *views)

    loss().backward()
    for name, parameter in made.flow.named_parameters():
        direction = torch.randn_like(parameter)
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.add_(step * direction)
                values.append(loss())
                parameter.sub_(step * direction)
        difference = (values[0] - values[1]) / 2e-5
        torch.testing.assert_close((parameter.grad * direction).sum(), difference, rtol=1e-5, atol=1e-8, msg=name)


def test_moments_are_those_of_many_draws_and_not_the_bases():
    posterior, count = guide(0.5).infer(embeddings()[0]), 50_000
    with torch.no_grad():
        draws = posterior.distribution().sample((count,))
        mean, deviation = posterior.moments()
    variance = draws.var(0)
    kurtosis = (draws - draws.mean(0)).pow(4).mean(0) / variance.square()
    assert ((mean - draws.mean(0)).abs() <= 5 * (2 * variance / posterior.moment_draws).sqrt()).all()
    error = (variance * (kurtosis - 1) / (2 * posterior.moment_draws)).sqrt()
    assert ((deviation - variance.sqrt()).abs() <= 5 * error).all()
    assert (draws.mean(0) - posterior.mean).abs().max() > 20 * (variance / count).sqrt().max()


def test_moments_without_a_flow_are_the_bases():
    made = guide()
    for layer in made.flow.layers:
        nn.init.zeros_(layer.output.weight)
        nn.init.zeros_(layer.output.bias)
    posterior = made.infer(embeddings()[0])
    mean, deviation = posterior.moments()
    torch.testing.assert_close(mean, posterior.mean)
    torch.testing.assert_close(deviation, posterior.scale)


def test_moments_draw_nothing_from_global_or_training_noise():
    posterior = guide(0.5).infer(embeddings()[0])
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = posterior.moments()
    assert torch.equal(torch.get_rng_state(), before)
    with KeyedNoise(1, 2):
        for one, other in zip(first, posterior.moments(), strict=True):
            assert torch.equal(one, other)


def test_declares_latent_in_plate_images_and_does_not_look_at_the_target():
    made = guide()
    posterior = made.infer(embeddings()[0])
    sites = []
    for target in (None, torch.full((N, D), float("nan")).double()):
        torch.manual_seed(1)
        sites.append(poutine.trace(made).get_trace(posterior, target).nodes["latent"])
    for site in sites:
        assert [(frame.name, frame.dim, frame.size) for frame in site["cond_indep_stack"]] == [("images", -1, N)]
        assert (site["fn"].batch_shape, site["fn"].event_shape) == ((N,), (D,))
        assert site["fn"].has_rsample
        assert torch.equal(site["value"], sites[0]["value"])


@pytest.mark.parametrize("rows", [(0, 2), (2, 6)], ids=str)
def test_draws_of_some_rows_are_those_of_the_global_batch(rows):
    posterior = guide(0.5).infer(embeddings()[0])
    start, stop = rows
    part = FlowPosterior(posterior.mean[start:stop], posterior.scale[start:stop], posterior.flow)
    made = guide()
    with KeyedNoise(3, 1):
        everything = made(posterior, None)
    with KeyedNoise(3, 1, rows, N):
        torch.testing.assert_close(made(part, None), everything[start:stop])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dim": 1}, "expects at least 2 features"),
        ({"layers": 0}, "expects layers >= 1"),
        ({"layers": -2}, "expects layers >= 1"),
        ({"width": 0}, "width >= 1"),
    ],
)
def test_an_impossible_size_is_refused_in_a_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Flow(**({"dim": D, "network": nn.Linear} | options))
