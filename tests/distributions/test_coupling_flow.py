"""Affine couplings: invertible, with the right determinant, and what `log_prob` remembers of a draw."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from vje_ppl.distributions import UnitNormal
from vje_ppl.distributions.coupling_flow import LARGEST_LOG_SCALE, CouplingFlow, FlowTransform

N = 6


def flow(dim: int = 5, layers: int = 4, size: float = 1.0, dtype: torch.dtype = torch.float64) -> CouplingFlow:
    """A flow far from the identity: outputs as large as any network's, times a size."""
    torch.manual_seed(1)
    made = CouplingFlow(dim, layers)
    for layer in made.layers:
        nn.init.normal_(layer.output.weight, std=size * (2 * dim) ** -0.5)
        nn.init.normal_(layer.output.bias, std=size)
    return made.to(dtype)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("dim", [2, 3, 5, 8])
def test_log_determinant_is_that_of_the_jacobian(dim, layers):
    given, noise, context = flow(dim, layers), torch.randn(dim).double(), torch.randn(dim).double()
    jacobian = torch.autograd.functional.jacobian(lambda x: given(x, context)[0], noise)
    torch.testing.assert_close(given(noise, context)[1], torch.linalg.slogdet(jacobian).logabsdet)


@pytest.mark.parametrize("layers", [1, 4])
@pytest.mark.parametrize("dim", [2, 3, 64])
def test_inverse_undoes_it_with_the_same_determinant(dim, layers):
    given, noise, context = flow(dim, layers), 3 * torch.randn(N, dim).double(), torch.randn(N, dim).double()
    value, log_det = given(noise, context)
    back, log_det_back = given.inverse(value, context)
    torch.testing.assert_close(back, noise)
    torch.testing.assert_close(log_det_back, log_det)
    assert not torch.isclose(value, noise).all()


@pytest.mark.parametrize("dim", [2, 64, 512])
def test_inverse_keeps_its_digits_in_float32_whatever_the_scale(dim):
    given = flow(dim, dtype=torch.float32)
    loc = torch.randn(N, dim)
    for log_scale in (-4.0, 0.0, 2.0):
        scale = torch.full((N, dim), log_scale).exp()
        draw = dist.TransformedDistribution(UnitNormal(dim, loc, loc.shape[:1]), [FlowTransform(given, loc, scale)])
        value = draw.sample().clone()
        in_double = FlowTransform(flow(dim), loc.double(), scale.double())
        noise = UnitNormal(dim, in_double.loc, loc.shape[:1])
        expected = dist.TransformedDistribution(noise, [in_double]).log_prob(value.double())
        # A feature's noise goes through four couplings, each a handful of roundings times a factor of at most e.
        allowed = (8 + 8 * dim**0.5) * 2.0**-24 * (expected.abs() + 4 * dim)
        assert ((draw.log_prob(value) - expected).abs() <= allowed).all()


def test_the_halves_take_turns():
    given, noise, context = flow(5, 1), torch.randn(N, 5).double(), torch.randn(N, 5).double()
    value = given(noise, context)[0]
    assert torch.equal(value[:, :2], noise[:, :2])
    assert not torch.isclose(value[:, 2:], noise[:, 2:]).any()
    longer = flow(5, 2)
    longer.layers[0].load_state_dict(given.layers[0].state_dict())
    again = longer(noise, context)[0]
    assert torch.equal(again[:, 2:], value[:, 2:])
    assert not torch.isclose(again[:, :2], noise[:, :2]).any()


def test_the_context_reaches_every_layer():
    noise, context = torch.randn(N, 5).double(), torch.randn(N, 5).double()
    for layer in flow(5).layers:
        half = noise[:, : layer.of_half.in_features]
        for one, other in zip(layer(half, context), layer(half, context + 1), strict=True):
            assert not torch.isclose(one, other).any()


def test_features_are_rescaled_within_bounds():
    given = flow(4, size=1e4)
    log_scale = torch.stack(
        [layer(torch.randn(N, 2).double(), torch.randn(N, 4).double())[1] for layer in given.layers]
    )
    assert log_scale.abs().max() <= LARGEST_LOG_SCALE
    assert log_scale.abs().max() > 0.99 * LARGEST_LOG_SCALE
    value, log_det = given(torch.randn(N, 4).double(), 1e6 * torch.randn(N, 4).double())
    assert torch.isfinite(value).all()
    assert torch.isfinite(log_det).all()


def test_noise_and_context_broadcast():
    given, noise, context = flow(3), torch.randn(7, 1, 3).double(), torch.randn(2, 3).double()
    for apply in (given, given.inverse):
        value, log_det = apply(noise, context)
        assert (value.shape, log_det.shape) == ((7, 2, 3), (7, 2))
        torch.testing.assert_close(value[4, 1], apply(noise[4, 0], context[1])[0])


@pytest.mark.parametrize("dim", [2, 64])
def test_starts_near_the_identity(dim):
    given, noise = CouplingFlow(dim), torch.randn(100, dim)
    value, log_det = given(noise, torch.randn(100, dim))
    assert (value - noise).square().mean().sqrt() < 0.1
    assert log_det.abs().mean() < 0.05 * dim


def distribution(given: CouplingFlow, loc: Tensor, scale: Tensor) -> dist.TransformedDistribution:
    noise = UnitNormal(loc.shape[-1], loc, loc.shape[:-1])
    return dist.TransformedDistribution(noise, [FlowTransform(given, loc, scale)])


def parameters(dim: int = 5) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    loc, scale = torch.randn(N, dim).double(), torch.rand(N, dim).double() + 0.1
    return loc.requires_grad_(), scale.requires_grad_()


def refuse(*given: Tensor) -> tuple[Tensor, Tensor]:
    raise AssertionError("the flow was evaluated again")


def test_log_prob_of_its_own_draw_evaluates_nothing_again(monkeypatch):
    given, (loc, scale) = flow(), parameters()
    drawn = distribution(given, loc, scale)
    value = drawn.rsample()
    monkeypatch.setattr(given, "forward", refuse)
    monkeypatch.setattr(given, "inverse", refuse)
    log_prob = drawn.log_prob(value)
    monkeypatch.undo()
    torch.testing.assert_close(log_prob, distribution(given, loc, scale).log_prob(value))


def test_total_gradient_of_a_draws_density_is_the_same_whether_remembered_or_inverted():
    given, of = flow(), parameters()
    learned = [*of, *given.parameters()]

    def gradients(scored_by_another: bool) -> tuple[Tensor, ...]:
        torch.manual_seed(4)
        drawn = distribution(given, *of)
        value = drawn.rsample()
        scoring = distribution(given, *of) if scored_by_another else drawn
        return torch.autograd.grad((scoring.log_prob(value) * torch.arange(N)).sum(), learned)

    for one, other in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("as_leaf", [False, True], ids=["constant", "leaf"])
def test_a_draw_without_graph_is_scored_with_the_gradient_of_a_constant(as_leaf):
    given, of = flow(), parameters()
    learned = [*of, *given.parameters()]
    drawn = distribution(given, *of)
    value = drawn.sample()
    copy = value.clone()
    value.requires_grad_(as_leaf)
    for _ in range(2):  # nothing of the first pass is kept for the second
        found = torch.autograd.grad(drawn.log_prob(value).sum(), learned)
        expected = torch.autograd.grad(distribution(given, *of).log_prob(copy).sum(), learned)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)
    if as_leaf:
        slope = torch.autograd.grad(drawn.log_prob(value).sum(), value)[0]
        assert (slope != 0).all()


def test_expectation_of_the_score_is_zero_within_five_standard_errors():
    given, (loc, scale) = flow(2, size=0.5), parameters(2)
    bias = given.layers[0].output.bias
    scores = []
    for _ in range(300):
        drawn = distribution(given, loc, scale)
        with torch.no_grad():
            value = drawn.sample((50,))
        scores.append(torch.autograd.grad(drawn.log_prob(value).mean(), bias)[0])
    score = torch.stack(scores)
    assert (score.mean(0).abs() <= 5 * score.std(0) / len(score) ** 0.5).all()


def test_expands_without_losing_its_draw(monkeypatch):
    given, (loc, scale) = flow(), parameters()
    wide = distribution(given, loc, scale).expand((3, 2, N))
    value = wide.rsample()
    assert value.shape == (3, 2, N, 5)
    assert not torch.isclose(value[0], value[1]).any()
    monkeypatch.setattr(given, "inverse", refuse)
    assert wide.log_prob(value).shape == (3, 2, N)


def test_runs_in_float32_under_autocast():
    given, loc = flow(dtype=torch.float32), torch.randn(N, 5)
    plain = given(loc, loc)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(given(loc, loc)[0], plain)
        torch.testing.assert_close(given.inverse(plain, loc)[0], loc, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((1,), "expects at least 2 features, to transform one half given the other, got 1; use guide=diagonal_normal"),
        ((3, 0), "expects layers >= 1 and width >= 1, got 0 and 2"),
        ((3, -1), "expects layers >= 1 and width >= 1, got -1 and 2"),
        ((3, 4, 0), "expects layers >= 1 and width >= 1, got 4 and 0"),
    ],
)
def test_an_impossible_size_is_refused_in_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        CouplingFlow(*arguments)


def by_optimizer(flow: CouplingFlow) -> None:
    torch.optim.SGD(flow.parameters(), lr=0.1).step()


def in_place(flow: CouplingFlow) -> None:
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.mul_(1.5)


def through_data(flow: CouplingFlow) -> None:
    for parameter in flow.parameters():
        parameter.data.mul_(1.5)


def by_other_data(flow: CouplingFlow) -> None:
    for parameter in flow.parameters():
        parameter.data = 1.5 * parameter.data


def by_a_state(given: CouplingFlow) -> None:
    given.load_state_dict(flow(size=0.3).state_dict())


CHANGES = (by_optimizer, in_place, through_data, by_other_data, by_a_state)


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__)
def test_a_draw_from_before_a_step_has_the_density_of_after(change):
    given, loc, scale = flow(), torch.randn(N, 5).double(), torch.rand(N, 5).double() + 0.1
    one = dist.TransformedDistribution(UnitNormal(5, loc, loc.shape[:1]), [FlowTransform(given, loc, scale)])
    draw = one.rsample()
    before = one.log_prob(draw)
    before.sum().backward()
    change(given)
    anew = dist.TransformedDistribution(UnitNormal(5, loc, loc.shape[:1]), [FlowTransform(given, loc, scale)])
    expected = anew.log_prob(draw.detach().clone())
    torch.testing.assert_close(one.log_prob(draw), expected)
    assert not torch.isclose(before, expected).any()


def test_a_draw_or_location_that_was_changed_is_seen_as_it_is():
    given, loc, scale = flow(), torch.randn(N, 5).double(), torch.rand(N, 5).double() + 0.1
    one = dist.TransformedDistribution(UnitNormal(5, loc, loc.shape[:1]), [FlowTransform(given, loc, scale)])
    for changed in ("draw", "loc"):
        with torch.no_grad():
            draw = one.rsample()
            (draw if changed == "draw" else loc).add_(0.5)
            torch.testing.assert_close(one.log_prob(draw), one.log_prob(draw.clone()))


def test_clearing_the_cache_forgets_the_draw():
    given, loc = flow(), torch.randn(N, 5).double()
    one = dist.TransformedDistribution(
        UnitNormal(5, loc, loc.shape[:1]), [FlowTransform(given, loc, torch.ones_like(loc))]
    )
    draw = one.rsample()
    calls = []
    given.inverse = lambda *args: calls.append(1) or CouplingFlow.inverse(given, *args)
    expected = one.log_prob(draw)
    assert calls == []
    one.clear_cache()
    torch.testing.assert_close(one.log_prob(draw), expected)
    assert calls == [1]
