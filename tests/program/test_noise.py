"""Latent noise keyed by seed, step and row."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from torch import Tensor

from vje_ppl.parallel.randomness import stream_seed
from vje_ppl.program.noise import KeyedNoise, SharedDraws

TOTAL, DIM = 12, 3


def guide(mean: Tensor, scale: Tensor) -> Tensor:
    with pyro.plate("images", mean.shape[-2], dim=-1):
        return pyro.sample("latent", dist.Normal(mean, scale).to_event(1))


def draw(rows: tuple[int, int] | None = None, seed: int = 0, step: int = 0, leading: tuple[int, ...] = (2,)) -> Tensor:
    """Standard normal latents of some rows of the global batch."""
    start, stop = rows or (0, TOTAL)
    mean = torch.zeros(*leading, stop - start, DIM)
    with KeyedNoise(seed, step, rows, TOTAL if rows else None), pyro.plate("pairs", leading[-1], dim=-2):
        return guide(mean, torch.ones(()))


@pytest.mark.parametrize("world_size", [1, 2, 3, 12])
@pytest.mark.parametrize("leading", [(2,), (5, 2)], ids=["one_particle", "five_particles"])
def test_rows_of_all_processes_are_those_of_a_single_one(world_size, leading):
    size = TOTAL // world_size
    parts = [draw((rank * size, (rank + 1) * size), leading=leading) for rank in range(world_size)]
    assert torch.equal(torch.cat(parts, -2), draw(leading=leading))


def test_depends_on_nothing_but_its_keys_and_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = draw()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(draw(), first)


def test_differs_between_seeds_steps_rows_pairs_and_sites():
    first = draw()
    for other in (draw(seed=1), draw(step=1), draw().flip(0), draw().flip(1)):
        assert not torch.isclose(first, other).any()
    with KeyedNoise(0, 0):
        a = pyro.sample("a", dist.Normal(torch.zeros(2, TOTAL, DIM), 1.0).to_event(3))
        b = pyro.sample("b", dist.Normal(torch.zeros(2, TOTAL, DIM), 1.0).to_event(3))
    assert not torch.isclose(a, b).any()


def test_is_standard_normal_within_and_across_steps():
    within = draw(leading=(500, 2)).flatten()
    across = torch.stack([draw(step=step)[0, 0, 0] for step in range(1000)])
    for sample in (within, across):
        assert scipy.stats.kstest(sample.numpy(), "norm").pvalue > 1e-4
    neighbours = torch.corrcoef(torch.stack([across[:-1], across[1:]]))[0, 1]
    assert neighbours.abs() < 5 / 1000**0.5


def test_draws_are_reparameterized():
    mean, scale = torch.zeros(4, DIM, requires_grad=True), torch.ones(4, DIM, requires_grad=True)
    with KeyedNoise(0, 0):
        latent = guide(mean, scale)
    by_mean, by_scale = torch.autograd.grad(latent.sum(), (mean, scale))
    assert torch.equal(by_mean, torch.ones(4, DIM))
    assert torch.equal(by_scale, latent)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_low_rank_draws_are_shared_by_rows_too(dtype):
    factor = torch.randn(TOTAL, DIM, 2, dtype=dtype)

    def latent(start: int, stop: int) -> Tensor:
        zeros, ones = torch.zeros(2, stop - start, DIM, dtype=dtype), torch.ones(2, stop - start, DIM, dtype=dtype)
        with KeyedNoise(3, 1, (start, stop), TOTAL):
            normal = dist.LowRankMultivariateNormal(zeros, factor[start:stop].expand(2, -1, -1, -1), ones)
            return pyro.sample("latent", normal.to_event(2))

    torch.testing.assert_close(torch.cat([latent(0, 5), latent(5, TOTAL)], 1), latent(0, TOTAL))


def test_leaves_observed_and_given_values_alone():
    value = torch.full((TOTAL, DIM), 7.0)
    normal = dist.Normal(torch.zeros(TOTAL, DIM), 1.0).to_event(1)
    with KeyedNoise(0, 0), pyro.plate("images", TOTAL, dim=-1):
        assert torch.equal(pyro.sample("direction", normal, obs=value), value)
        replayed = pyro.condition(lambda: pyro.sample("latent", normal), {"latent": value})()
        assert torch.equal(replayed, value)


def test_leaves_draws_that_are_no_latents_to_the_global_generator():
    torch.manual_seed(5)
    with KeyedNoise(0, 0):
        inside = torch.randn(4)
        drawn = pyro.sample("category", dist.Categorical(torch.ones(100)).expand([20]).to_event(1))
    torch.manual_seed(5)
    assert torch.equal(torch.randn(4), inside)
    assert torch.equal(dist.Categorical(torch.ones(100)).expand([20]).sample(), drawn)


def test_stream_seeds_of_nearby_keys_are_unlike_and_fit_a_generator():
    seeds = {stream_seed(seed, step) for seed in range(30) for step in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert stream_seed(0, 1) != stream_seed(1, 0)


def shared(seed: int = 0, step: int = 0, rows: tuple[int, int] | None = None) -> Tensor:
    """Numbers that all processes share, beside noise of these rows."""
    with KeyedNoise(seed, step, rows, TOTAL if rows else None), SharedDraws(torch.device("cpu")):
        return torch.randn(5, DIM)


def test_shared_draws_depend_on_seed_and_step_alone():
    torch.manual_seed(1)
    before, first = torch.get_rng_state(), shared()
    assert torch.equal(torch.get_rng_state(), before)
    for rows in ((0, 3), (3, TOTAL)):
        assert torch.equal(shared(rows=rows), first)
    for other in (shared(seed=1), shared(step=1), draw()[0, :5]):
        assert not torch.isclose(first, other).any()


def test_shared_draws_outside_of_a_step_are_those_of_the_global_generator():
    torch.manual_seed(1)
    with SharedDraws(torch.device("cpu")):
        first = torch.randn(2, 3)
    torch.manual_seed(1)
    assert torch.equal(torch.randn(2, 3), first)
