"""One step by each of the three routes changes every parameter, and to the same values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pytest
import torch
from pyro.infer import SVI
from pyro.infer.elbo import ELBOModule
from torch import Tensor, nn

from tests.helpers.programs import DisguisedNormal, LearnedNormal, small_guide, small_model
from vje_ppl import ObjectiveTerms, SymmetricConditionalELBO
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.models.likelihoods.polar_student_t import PolarStudentT
from vje_ppl.models.radius import StudentTRadius
from vje_ppl.models.scales import Free
from vje_ppl.models.vje import VJE
from vje_ppl.networks.encoders import SmallResNet

N, D = 6, 8


def programs(prior: Callable[[int], nn.Module] = LearnedNormal) -> tuple[VJE, Any]:
    """A guide with an encoder of images, and a model with parameters in its prior and in its scale."""
    torch.manual_seed(0)
    encoder = SmallResNet(4, (1, 1)).double()
    return small_model(D, prior(D), Free(D, 0.7)), small_guide(D, encoder)


def batches(steps: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        tuple(torch.randn(N, 3, 8, 8, generator=generator, dtype=torch.float64) for _ in range(2)) for _ in range(steps)
    ]


def svi(model, guide, objective, optimizer: str, views: list) -> list[float]:
    stepper = SVI(model, guide, getattr(pyro.optim, optimizer)({"lr": 0.05}), loss=objective)
    return [stepper.step(*batch) for batch in views]


def elbo_module(model, guide, objective, optimizer: str, views: list) -> list[float]:
    module = objective(model, guide)
    assert type(module) is ELBOModule
    return descend(module, module, optimizer, views)


def joint_embedding(model, guide, objective, optimizer: str, views: list) -> list[float]:
    module = JointEmbedding(model, guide, objective)
    return descend(module, lambda *batch: module(*batch).loss, optimizer, views)


def descend(module: nn.Module, loss_of: Callable, optimizer: str, views: list) -> list[float]:
    stepper = getattr(torch.optim, optimizer)(module.parameters(), lr=0.05)
    losses = []
    for batch in views:
        stepper.zero_grad()
        loss = loss_of(*batch)
        loss.backward()
        stepper.step()
        losses.append(loss.item())
    return losses


ROUTES = {"svi": svi, "elbo_module": elbo_module, "joint_embedding": joint_embedding}


def parameters_of(model: nn.Module, guide: nn.Module) -> dict[str, Tensor]:
    named = {f"model.{name}": value for name, value in model.named_parameters()}
    named |= {f"guide.{name}": value for name, value in guide.named_parameters()}
    return {name: value.detach().clone() for name, value in named.items()}


def after(route, optimizer: str, steps: int, prior=LearnedNormal, particles: int = 1) -> tuple[list[float], dict, dict]:
    """Losses and parameters before and after some steps of a route, from the same start, data and noise."""
    pyro.clear_param_store()
    model, guide = programs(prior)
    before = parameters_of(model, guide)
    torch.manual_seed(2)
    losses = route(model, guide, SymmetricConditionalELBO(0.3, particles), optimizer, batches(steps))
    return losses, before, parameters_of(model, guide)


@pytest.mark.parametrize("local", [False, True], ids=["global_parameters", "module_local_parameters"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_one_step_changes_every_parameter_of_encoder_guide_and_model(route, optimizer, local):
    with pyro.settings.context(module_local_params=local):
        _, before, changed = after(route, optimizer, 1)
    assert {name.split(".")[1] for name in before} == {"prior", "scale", "encoder", "network"}
    unchanged = [name for name in before if torch.isclose(before[name], changed[name], rtol=1e-9, atol=0).all()]
    assert not unchanged


@pytest.mark.parametrize("local", [False, True], ids=["global_parameters", "module_local_parameters"])
@pytest.mark.parametrize("prior", [LearnedNormal, DisguisedNormal], ids=["closed_form", "monte_carlo"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("particles", [1, 2], ids=["one_particle", "two_particles"])
def test_all_routes_lead_to_the_same_losses_and_parameters(optimizer, prior, particles, local):
    with pyro.settings.context(module_local_params=local):
        losses, _, expected = after(joint_embedding, optimizer, 3, prior, particles)
        for route in (svi, elbo_module):
            other_losses, _, parameters = after(route, optimizer, 3, prior, particles)
            assert other_losses == pytest.approx(losses, rel=1e-10)
            assert parameters.keys() == expected.keys()
            for name, value in parameters.items():
                torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-10, msg=name)


def test_svi_steps_are_seen_by_the_modules_and_evaluated_by_svi():
    model, guide = programs()
    stepper = SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), loss=SymmetricConditionalELBO())
    (views,) = batches(1)
    torch.manual_seed(3)
    first = stepper.evaluate_loss(*views)
    for _ in range(30):
        stepper.step(*views)
    torch.manual_seed(3)
    assert stepper.evaluate_loss(*views) < first


def test_svi_trains_through_handlers_around_model_and_guide():
    _, before, scaled = after(
        lambda model, guide, *rest: svi(
            pyro.poutine.scale(model, scale=2.0), pyro.poutine.scale(guide, scale=2.0), *rest
        ),
        "SGD",
        1,
    )
    _, _, plain = after(svi, "SGD", 1)
    for name in before:
        torch.testing.assert_close(scaled[name] - before[name], 2 * (plain[name] - before[name]), rtol=1e-6, atol=1e-12)


def test_frozen_parameters_stay_as_they_are():
    def frozen(model, guide, *rest) -> list[float]:
        guide.encoder.requires_grad_(False)
        return svi(model, guide, *rest)

    _, before, changed = after(frozen, "SGD", 1)
    for name in before:
        assert torch.equal(before[name], changed[name]) == name.startswith("guide.encoder"), name


def test_gradients_add_up_over_calls_as_pyros_own():
    model, guide = programs()
    objective, (views,) = SymmetricConditionalELBO(), batches(1)
    torch.manual_seed(4)
    objective.loss_and_grads(model, guide, *views)
    once = [parameter.grad.clone() for parameter in guide.network.parameters()]
    torch.manual_seed(4)
    objective.loss_and_grads(model, guide, *views)
    for parameter, gradient in zip(guide.network.parameters(), once, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * gradient)


def test_forward_returns_the_terms_of_the_objective():
    model, guide = programs()
    objective, (views,) = SymmetricConditionalELBO(0.3), batches(1)
    torch.manual_seed(5)
    terms = JointEmbedding(model, guide, objective)(*views)
    assert isinstance(terms, ObjectiveTerms)
    torch.manual_seed(5)
    assert torch.equal(terms.loss, objective.differentiable_loss(model, guide, *views))


def test_one_module_holds_every_parameter_once():
    model, guide = programs()
    module = JointEmbedding(model, guide, SymmetricConditionalELBO())
    assert module.model is model
    assert module.guide is guide
    count = sum(1 for _ in model.parameters()) + sum(1 for _ in guide.parameters())
    assert len(list(module.parameters())) == count


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"learn_df": True}, {"likelihood.df": 2.0, "likelihood.radius.df": 2.0}),
        ({"radius": StudentTRadius(3.0, learn_df=True)}, {"likelihood.radius.df": 3.0}),
    ],
    ids=["fixed", "both learned", "the radius's learned"],
)
def test_learned_degrees_of_freedom_go_by_the_name_of_their_override(options, expected):
    model = VJE(LearnedNormal(D), PolarStudentT(2.0, **options))
    module = JointEmbedding(model, small_guide(D, nn.Identity()), SymmetricConditionalELBO())
    assert module.learned_numbers() == pytest.approx(expected, rel=1e-6)  # kept in float32


def test_a_copy_from_its_state_gives_the_same_terms():
    model, guide = programs()
    module = JointEmbedding(model, guide, SymmetricConditionalELBO())
    (views,) = batches(1)
    module(*views).loss.backward()
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    other = JointEmbedding(*programs(), SymmetricConditionalELBO())
    other.load_state_dict(module.state_dict())
    losses = []
    for each in (module, other):
        pyro.clear_param_store()
        torch.manual_seed(6)
        losses.append(each.eval()(*views).loss)
    assert torch.equal(*losses)
