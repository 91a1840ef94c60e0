"""The VampPrior: whose posteriors it mixes, with which statistics, and whose parameters are whose."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import deepcopy
from functools import partial

import pyro
import pytest
import torch
from pyro.infer import SVI
from torch import Tensor

from tests.helpers.cases import CHANNELS, IMAGE_SIZE, Case, built
from vje_ppl.guides.diagonal_normal import DiagonalNormal, DiagonalNormalPosterior
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.models.priors.vamp import VampPrior
from vje_ppl.networks.inference_network import InferenceNetwork

N, D, K = 6, 3, 4
VAMP = Case("vamp", (f"prior.components={K}",))


def guide_and_prior(norm: str = "batch") -> tuple[DiagonalNormal, VampPrior]:
    guide = DiagonalNormal(D, network=partial(InferenceNetwork, width=2, depth=1, norm=norm)).double()
    prior = VampPrior(D, components=K).double()
    prior.bind(guide.infer)
    return guide, prior


def whole() -> JointEmbedding:
    # Batch normalization would cancel the encoder's last bias, so that no step could change it.
    return built("norm=group", prior=VAMP).double()


def views() -> list[Tensor]:
    return [torch.randn(N, CHANNELS, IMAGE_SIZE, IMAGE_SIZE).double() for _ in range(2)]


def statistics(guide: DiagonalNormal) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in guide.named_buffers()}


def step(module: JointEmbedding) -> None:
    module.zero_grad()
    module(*views()).loss.backward()
    torch.optim.SGD(module.parameters(), lr=0.1).step()


def test_is_the_equal_mixture_of_the_posteriors_of_its_pseudo_embeddings():
    guide, prior = guide_and_prior("group")
    value, posterior = torch.randn(5, D).double(), guide.infer(prior.pseudo_embeddings)
    each = torch.stack(
        [
            torch.distributions.Normal(*one).log_prob(value).sum(-1)
            for one in zip(posterior.mean, posterior.scale, strict=True)
        ]
    )
    torch.testing.assert_close(prior().log_prob(value), each.exp().mean(0).log())


def test_is_one_density_in_training_and_evaluation_and_leaves_the_statistics_alone():
    guide, prior = guide_and_prior()
    for _ in range(3):
        guide.infer(2 + 3 * torch.randn(50, D).double())
    before, value = statistics(guide), torch.randn(5, D).double()
    training = prior().log_prob(value)
    assert guide.training
    assert all(part.training for part in guide.modules())
    assert all(torch.equal(buffer, before[name]) for name, buffer in guide.named_buffers())
    guide.eval()
    assert torch.equal(prior().log_prob(value), training)
    assert not any(part.training for part in guide.modules())
    guide.train()
    own_statistics = guide.infer(prior.pseudo_embeddings).mean
    assert not torch.allclose(own_statistics, guide.eval().infer(prior.pseudo_embeddings).mean)


def test_running_statistics_stay_the_guides_own_buffers():
    guide, prior = guide_and_prior()
    before = dict(guide.named_buffers())
    prior()
    assert all(buffer is before[name] for name, buffer in guide.named_buffers())
    guide.infer(torch.randn(50, D).double())
    assert guide.network.layers[1].num_batches_tracked == 1


def test_gradient_is_right_when_another_batch_passes_before_backward():
    guide, prior = guide_and_prior()
    value, gradients = torch.randn(5, D).double(), []
    for later in (False, True):
        guide.load_state_dict(statistics_of_a_new_guide(guide))
        log_prob = prior().log_prob(value).sum()
        if later:
            guide.infer(2 + 3 * torch.randn(50, D).double())
        gradients.append(torch.autograd.grad(log_prob, (prior.pseudo_embeddings, *guide.parameters())))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


def statistics_of_a_new_guide(guide: DiagonalNormal) -> dict[str, Tensor]:
    fresh = {
        name: torch.zeros_like(one) if name.endswith("mean") else torch.ones_like(one)
        for name, one in guide.named_buffers()
    }
    return {**guide.state_dict(), **fresh}


def test_modes_are_restored_when_the_network_refuses():
    guide, prior = guide_and_prior()
    prior.pseudo_embeddings = torch.nn.Parameter(torch.zeros(K, D + 1).double())
    before = dict(guide.named_buffers())
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        prior()
    assert all(part.training for part in guide.modules())
    assert all(buffer is before[name] for name, buffer in guide.named_buffers())


def test_the_guide_is_no_part_of_the_prior():
    module = whole()
    assert [name for name, _ in module.model.named_parameters()] == ["prior.pseudo_embeddings"]
    assert list(module.model.prior.state_dict()) == ["pseudo_embeddings"]
    assert not list(module.model.prior.children())
    assert len(list(module.parameters())) == len(list(module.guide.parameters())) + 1


def test_a_copy_of_the_whole_asks_its_own_guide():
    module = whole()
    copy, value = deepcopy(module), torch.randn(5, D).double()
    before = module.model.prior().log_prob(value)
    torch.testing.assert_close(copy.model.prior().log_prob(value), before, rtol=0, atol=0)
    with torch.no_grad():
        for parameter in copy.guide.network.parameters():
            parameter.add_(1)
    assert not torch.allclose(copy.model.prior().log_prob(value), before)
    assert torch.equal(module.model.prior().log_prob(value), before)


def test_one_step_changes_every_parameter():
    module = whole()
    before = {name: parameter.clone() for name, parameter in module.named_parameters()}
    step(module)
    assert not [name for name, parameter in module.named_parameters() if torch.equal(parameter, before[name])]


def test_a_step_of_svi_changes_every_parameter():
    module = whole()
    before = {name: parameter.clone() for name, parameter in module.named_parameters()}
    svi = SVI(module.model, module.guide, pyro.optim.SGD({"lr": 0.1}), loss=module.elbo)
    svi.step(*views())
    assert not [name for name, parameter in module.named_parameters() if torch.equal(parameter, before[name])]


def test_what_was_learned_comes_back_with_the_state():
    module, value = whole(), torch.randn(5, D).double()
    for _ in range(3):
        step(module)
    other = whole()
    assert not torch.equal(other.model.prior().log_prob(value), module.model.prior().log_prob(value))
    other.load_state_dict(module.state_dict())
    assert torch.equal(other.model.prior().log_prob(value), module.model.prior().log_prob(value))


COPIES = {"deepcopy": deepcopy, "pickle": lambda one: pickle.loads(pickle.dumps(one))}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_together_with_the_guide_follows_the_copied_guide(copied):
    guide, prior = guide_and_prior("group")
    other_guide, other_prior = copied((guide, prior))
    value = torch.randn(5, D).double()
    before = prior().log_prob(value)
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.add_(0.3)
    assert torch.equal(other_prior().log_prob(value), before)
    with torch.no_grad():
        for parameter in other_guide.parameters():
            parameter.add_(0.3)
    assert torch.equal(other_prior().log_prob(value), prior().log_prob(value))
    assert not torch.equal(prior().log_prob(value), before)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_without_the_guide_says_so_and_can_be_bound(copied):
    guide, prior = guide_and_prior()
    alone = copied(prior)
    with pytest.raises(ValueError, match=r"lost its guide, .*; copy model and guide together, .*prior\.bind"):
        alone()
    alone.bind(guide.infer)
    value = torch.randn(5, D).double()
    assert torch.equal(alone().log_prob(value), prior().log_prob(value))


def test_does_not_keep_a_guide_that_is_gone():
    prior = guide_and_prior()[1]
    with pytest.raises(ValueError, match=r"lost its guide, .* or the guide was deleted"):
        prior()


def test_starts_apart_from_zero_and_elsewhere_for_another_seed():
    starts = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        starts.append(VampPrior(100, components=100, init_scale=0.3).pseudo_embeddings)
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])
    assert abs(starts[0].std() / 0.3 - 1) <= 5 / (2 * 10_000) ** 0.5


@pytest.mark.parametrize("count", [1, K])
def test_takes_any_function_and_any_number_of_components(count):
    prior = VampPrior(D, components=count)
    given: list[Tensor] = []

    def infer(embedding: Tensor) -> DiagonalNormalPosterior:
        given.append(embedding)
        return DiagonalNormalPosterior(embedding, torch.ones_like(embedding))

    prior.bind(infer)
    value = torch.randn(5, D)
    distance = (value[:, None] - prior.pseudo_embeddings).square().sum(-1)
    expected = (-0.5 * distance).exp().mean(-1).log() - 0.5 * D * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(prior().log_prob(value), expected)
    assert given[0] is prior.pseudo_embeddings


REFUSED: dict[str, tuple[Callable, str]] = {
    "a_call_before_bind": (
        lambda: VampPrior(D)(),
        r"expects the guide's inference network .* prior.bind\(guide.infer\)",
    ),
    "no_component": (lambda: VampPrior(D, components=0), "expects components >= 1 and a positive init_scale, got 0"),
    "all_alike": (lambda: VampPrior(D, init_scale=0.0), "expects components >= 1 and a positive init_scale, got 32"),
}


@pytest.mark.parametrize(("call", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_gets_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
