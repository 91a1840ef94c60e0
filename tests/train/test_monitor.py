"""Means over an epoch, the first sign of non-finite numbers, and collapse."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vje_ppl.program.bounded_scale import BoundedScale
from vje_ppl.program.objective import ObjectiveTerms
from vje_ppl.train.monitor import MOST_IN_A_ROW, Finiteness, Monitor, collapse_warning


class Guide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bounded_scale = BoundedScale(-8.0, 4.0)


def terms(images: int = 6, dim: int = 4, seed: int = 0, **changes: torch.Tensor) -> ObjectiveTerms:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    direction, radius, kl = normal(2, images), normal(2, images), normal(2, images).abs()
    fields = {
        "loss": normal(),
        "objective": direction + radius - 0.1 * kl,
        "elbo": direction + radius - kl,
        "log_likelihood": {"direction": direction, "radius": radius},
        "kl": kl,
        "target": normal(2, images, dim),
        "scale": normal(2, images, dim).exp(),
        "latent": normal(3, 2, images, dim),
    }
    return ObjectiveTerms(**(fields | changes))


def test_means_are_those_of_each_step_then_of_the_steps():
    monitor = Monitor(Guide())
    steps = [terms(seed=seed) for seed in range(3)]
    for number, step in enumerate(steps):
        monitor.update(number, step)

    def mean(value) -> float:
        return sum(float(value(step)) for step in steps) / 3

    expected = {
        "loss": mean(lambda t: t.loss),
        "objective": mean(lambda t: t.objective.mean()),
        "elbo": mean(lambda t: t.elbo.mean()),
        "log_likelihood/direction": mean(lambda t: t.log_likelihood["direction"].mean()),
        "log_likelihood/radius": mean(lambda t: t.log_likelihood["radius"].mean()),
        "kl": mean(lambda t: t.kl.mean()),
        "posterior_scale": mean(lambda t: t.scale.mean()),
        "embedding_norm": mean(lambda t: t.target.norm(dim=-1).mean()),
        "feature_std": mean(lambda t: (t.target / t.target.norm(dim=-1, keepdim=True)).std(1).mean()),
        "spread": 2 * mean(lambda t: (t.target / t.target.norm(dim=-1, keepdim=True)).std(1).mean()),  # sqrt(D) = 2
        "cosine": mean(
            lambda t: ((t.latent * t.target).sum(-1) / t.latent.norm(dim=-1) / t.target.norm(dim=-1)).mean()
        ),
        "share_at_bound": mean(lambda t: Guide().bounded_scale.share_at_bound(t.scale)),
    }
    assert monitor.means() == pytest.approx(expected, rel=1e-5)


def test_means_can_be_averaged_over_processes():
    monitor, other = Monitor(Guide()), Monitor(Guide())
    monitor.update(0, terms(seed=1))
    other.update(0, terms(seed=2))
    theirs = torch.tensor(list(other.means().values()), dtype=torch.float64)
    averaged = monitor.means(lambda ours: (ours + theirs) / 2)
    expected = {name: (value + other.means()[name]) / 2 for name, value in monitor.means().items()}
    assert averaged == pytest.approx(expected)


def test_a_guide_without_bounds_has_no_share_at_them():
    monitor = Monitor(nn.Module())
    monitor.update(0, terms())
    assert "share_at_bound" not in monitor.means()


def test_counts_scales_at_a_bound():
    monitor = Monitor(Guide())
    scale = torch.ones(2, 6, 4)
    scale[0] = math.exp(-4)
    monitor.update(0, terms(scale=scale))
    assert monitor.means()["share_at_bound"] == pytest.approx(0.5)


def test_reset_starts_anew_and_nothing_seen_has_no_means():
    monitor = Monitor(Guide())
    assert monitor.means() == {}
    monitor.update(0, terms(seed=1))
    monitor.reset()
    assert monitor.means() == {}
    monitor.update(1, terms(seed=2))
    fresh = Monitor(Guide())
    fresh.update(1, terms(seed=2))
    assert monitor.means() == fresh.means()


def test_a_state_taken_up_gives_the_same_means():
    undisturbed, before, after = Monitor(Guide()), Monitor(Guide()), Monitor(Guide())
    for number in range(4):
        undisturbed.update(number, terms(seed=number))
    for number in range(2):
        before.update(number, terms(seed=number))
    after.load_state(before.state(), torch.device("cpu"))
    for number in range(2, 4):
        after.update(number, terms(seed=number))
    assert after.means() == undisturbed.means()


def test_an_empty_state_can_be_taken_up():
    monitor = Monitor(Guide())
    monitor.load_state(Monitor(Guide()).state(), torch.device("cpu"))
    assert monitor.means() == {}


def bad(field: str) -> ObjectiveTerms:
    broken = terms()
    if field in broken.log_likelihood:
        value = broken.log_likelihood[field].clone()
        value[1, 2] = math.nan
        return broken._replace(log_likelihood=broken.log_likelihood | {field: value})
    name = {"embedding": "target", "latent": "kl"}[field]
    value = getattr(broken, name).clone()
    value[1, 2] = math.inf
    return broken._replace(**{name: value})


@pytest.mark.parametrize(
    ("field", "what"),
    [
        ("embedding", "the embedding"),
        ("latent", "site 'latent'"),
        ("direction", "site 'direction'"),
        ("radius", "site 'radius'"),
    ],
)
def test_names_step_and_site_of_the_first_number_that_is_not_finite(field, what):
    monitor = Monitor(Guide())
    monitor.update(6, terms())
    assert monitor.failure_reason() is None
    monitor.update(7, bad(field))
    monitor.update(8, bad("embedding"))
    assert monitor.failure_reason() == f"the objective became non-finite in step 7, first at {what}"


def test_within_a_step_the_first_on_the_way_to_the_loss_is_named():
    broken = bad("latent")._replace(log_likelihood=bad("radius").log_likelihood)
    monitor = Monitor(Guide())
    monitor.update(0, broken)
    assert monitor.failure_reason().endswith("step 0, first at site 'latent'")


def test_trouble_outlives_a_reset_and_a_finite_step():
    monitor = Monitor(Guide())
    monitor.update(0, bad("radius"))
    monitor.reset()
    monitor.update(1, terms())
    assert "step 0" in monitor.failure_reason()


def test_nothing_seen_is_no_trouble():
    assert Monitor(Guide()).failure_reason() is None


@pytest.mark.parametrize("dim", [8, 128])
def test_spread_embeddings_are_not_warned_of_and_collapsed_ones_are(dim):
    def warning(target: torch.Tensor) -> str | None:
        monitor = Monitor(Guide())
        monitor.update(0, terms(images=400, dim=dim, target=target))
        return collapse_warning(monitor.means(), "a smaller optimizer.lr")

    uniform = torch.randn(2, 400, dim)
    assert warning(uniform) is None
    assert warning(100 * uniform) is None
    collapsed = torch.ones(dim) + 0.01 * uniform
    assert warning(collapsed).startswith("warning: embeddings collapse: their directions spread 0.0")


def test_spread_of_uniform_directions_is_one():
    monitor = Monitor(Guide())
    monitor.update(0, terms(images=4000, dim=16, target=torch.randn(2, 4000, 16)))
    # The standard deviation of 2 x 4000 x 16 features has a relative error of about 1/sqrt(2 x 128,000).
    assert monitor.means()["spread"] == pytest.approx(1, abs=5 / (2 * 128_000) ** 0.5 + 1e-3)


def test_a_batch_of_one_image_has_no_spread_and_no_warning():
    monitor = Monitor(Guide())
    monitor.update(0, terms(images=1))
    means = monitor.means()
    assert all(math.isfinite(value) for value in means.values())
    assert collapse_warning(means, "a smaller optimizer.lr") is None


def seen(*bad: str) -> Finiteness:
    return Finiteness.of({name: torch.tensor(math.nan if name in bad else 1.0) for name in ("z", "the gradient")})


def test_skipped_steps_count_and_leave_the_means_alone():
    monitor, fresh = Monitor(Guide(), skips=True), Monitor(Guide())
    for number, finiteness in enumerate((seen(), seen("the gradient"), seen())):
        monitor.update(number, terms(seed=number), finiteness)
    monitor.update(3, bad("radius"), seen("z", "the gradient"))
    for number in (0, 2):
        fresh.update(number, terms(seed=number))
    assert monitor.means() == fresh.means()
    assert monitor.skipped() == (2, "step 1, first at the gradient")
    assert monitor.failure_reason() is None
    assert monitor.failure_reason(of_epoch=True) is None


def test_skipped_steps_survive_a_state_and_start_anew_with_an_epoch():
    monitor, after = Monitor(Guide(), skips=True), Monitor(Guide(), skips=True)
    monitor.update(0, terms(), seen())
    monitor.update(1, terms(), seen("z"))
    after.load_state(monitor.state(), torch.device("cpu"))
    assert after.skipped() == (1, "step 1, first at z")
    after.reset()
    assert after.skipped() == (0, "")
    after.update(2, terms(), seen("the gradient"))
    assert after.skipped() == (1, "step 2, first at the gradient")


@pytest.mark.parametrize("epoch", [1000, 7], ids=["one epoch", "many epochs"])
def test_too_many_skipped_steps_in_a_row_are_trouble(epoch):
    monitor = Monitor(Guide(), skips=True)
    monitor.update(0, terms(), seen())
    for step in range(1, MOST_IN_A_ROW + 1):
        monitor.update(step, terms(), seen("z"))
        assert monitor.failure_reason() is None
        if step % epoch == 0:
            monitor.reset()
    monitor.update(MOST_IN_A_ROW + 1, terms(), seen("z"))
    assert f"the last {MOST_IN_A_ROW + 1} steps were all skipped" in monitor.failure_reason()


def test_an_epoch_without_a_step_taken_is_trouble():
    monitor = Monitor(Guide(), skips=True)
    for step in range(3):
        monitor.update(step, terms(), seen("z"))
    assert monitor.failure_reason() is None
    assert "the last 3 steps" in monitor.failure_reason(of_epoch=True)
    assert monitor.means() == {}


def test_a_state_speaks_for_all_processes():
    """Whoever goes on with it, and however many, an epoch ends with the means over all images."""
    ours, theirs, whole = (Monitor(Guide()) for _ in range(3))
    for step in range(3):
        one, other = terms(seed=2 * step), terms(seed=2 * step + 1)
        ours.update(step, one)
        theirs.update(step, other)
        whole.update(step, one)
        whole.update(step, other)
    sums = theirs.state()["sums"]
    ours.average(lambda local: (local + sums) / 2)
    for name, value in whole.means().items():
        assert ours.means()[name] == pytest.approx(value, rel=1e-12), name
    Monitor(Guide()).average(lambda local: local)  # nothing yet, as before the first step


def test_trouble_of_any_process_is_everyones():
    ours, theirs = Monitor(Guide()), Monitor(Guide())
    ours.update(3, terms())
    theirs.update(3, bad("latent"))
    heard = []
    assert "step 3" in theirs.failure_reason(lambda local: heard.append(local) or local)
    assert "step 3" in ours.failure_reason(lambda local: torch.minimum(local, heard[0]))
    assert "step 3" in ours.failure_reason()  # and stays so
    ours = Monitor(Guide())
    ours.update(3, terms())
    assert ours.failure_reason(lambda local: local) is None
