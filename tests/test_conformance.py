"""Every prior, likelihood and guide, by folder: its files are complete, and it does what its kind promises."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import hydra
import pyro
import pytest
import torch
import vje_ppl.configs
import vje_ppl.guides
import vje_ppl.models.likelihoods
import vje_ppl.models.priors
from pyro import poutine
from torch import Tensor

from tests.cases import CHANNELS, GUIDES, IMAGE_SIZE, LIKELIHOODS, PRIORS, Case, LikelihoodCase, built, composed
from vje_ppl.noise import KeyedNoise

N, D = 6, 3
KINDS: dict[str, tuple[ModuleType, Sequence[Case]]] = {
    "prior": (vje_ppl.models.priors, PRIORS),
    "likelihood": (vje_ppl.models.likelihoods, LIKELIHOODS),
    "guide": (vje_ppl.guides, GUIDES),
}
CONFIGS = Path(vje_ppl.configs.__file__).parent

each_prior = pytest.mark.parametrize("prior", PRIORS, ids=str)
each_likelihood = pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=str)
each_guide = pytest.mark.parametrize("guide", GUIDES, ids=str)


def names(folder: Path, ending: str) -> set[str]:
    return {path.stem for path in folder.glob(f"*{ending}")} - {"__init__", "custom"}


def missing(kind: str, programs: Path, configs: Path, cases: Sequence[Case]) -> list[str]:
    """A sentence for every file, configuration or row that another one has no counterpart for."""
    files, options, rows = names(programs, ".py"), names(configs, ".yaml"), {case.name for case in cases}
    table = f"{kind.upper()}S in tests/cases.py"
    return [
        *(f"The {kind} {name}.py has no configuration; write configs/{kind}/{name}.yaml." for name in files - options),
        *(f"The {kind} {name}.py has no test case; add a row for it to {table}." for name in files - rows),
        *(f"configs/{kind}/{name}.yaml has no program {name}.py in {programs.name}/." for name in options - files),
        *(f"The row {name!r} of {table} has no program {name}.py in {programs.name}/." for name in rows - files),
    ]


def views(count: int = 2, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    shape = (N, CHANNELS, IMAGE_SIZE, IMAGE_SIZE)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(count)]


def integral(distribution, count: int = 40_000) -> tuple[Tensor, Tensor]:
    """The integral of a density, and its standard error, from draws x: the mean of h(x)/p(x) for a density h.

    h is uniform on a box, the middle half of each feature's draws, so that h/p is bounded and no moment need exist.
    """
    draws = distribution.sample((count,)).detach()
    flat = draws.reshape(count, *distribution.batch_shape, -1)
    low, high = flat.quantile(0.25, dim=0), flat.quantile(0.75, dim=0)
    inside = ((flat >= low) & (flat <= high)).all(-1)
    log_uniform = -(high - low).log().sum(-1)
    ratio = torch.where(inside, (log_uniform - distribution.log_prob(draws)).exp(), 0.0)
    return ratio.mean(0), ratio.std(0) / math.sqrt(count)


@pytest.mark.parametrize("kind", KINDS)
def test_every_program_has_a_configuration_and_a_test_case(kind):
    package, cases = KINDS[kind]
    sentences = missing(kind, Path(package.__file__).parent, CONFIGS / kind, cases)
    assert not sentences, "\n".join(sentences)


def test_what_is_missing_is_named(tmp_path):
    programs, configs = tmp_path / "priors", tmp_path / "configs"
    programs.mkdir(), configs.mkdir()
    for name in ("__init__", "whole", "without_yaml", "without_row"):
        (programs / f"{name}.py").touch()
    for name in ("custom", "whole", "without_row", "without_program"):
        (configs / f"{name}.yaml").touch()
    assert sorted(missing("prior", programs, configs, [Case("whole"), Case("without_yaml"), Case("gone")])) == [
        "The prior without_row.py has no test case; add a row for it to PRIORS in tests/cases.py.",
        "The prior without_yaml.py has no configuration; write configs/prior/without_yaml.yaml.",
        "The row 'gone' of PRIORS in tests/cases.py has no program gone.py in priors/.",
        "configs/prior/without_program.yaml has no program without_program.py in priors/.",
    ]


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in sorted(names(CONFIGS / kind, ".yaml"))]
)
def test_docstring_says_where_it_comes_from_and_what_its_density_refers_to(kind, name):
    target = composed(f"{kind}={name}")[kind]._target_
    package, _ = KINDS[kind]
    assert target.startswith(f"{package.__name__}.{name}."), f"configs/{kind}/{name}.yaml builds {target}"
    documentation = inspect.getdoc(hydra.utils.get_class(target))
    assert "Source:" in documentation, f"{target} does not name its source"
    if kind != "guide":
        assert "Base measure:" in documentation, f"{target} does not name its base measure"


@each_prior
def test_prior_is_a_density_over_the_embedding(prior):
    distribution = built(prior=prior, dim=D).double().model.prior()
    assert (distribution.batch_shape, distribution.event_shape) == ((), (D,))
    draws = distribution.sample((7,))
    assert (draws.shape, draws.dtype) == ((7, D), torch.float64)
    assert distribution.log_prob(draws).shape == (7,)


@each_prior
def test_prior_integrates_to_one_within_five_standard_errors(prior):
    value, error = integral(built(prior=prior, dim=2).double().model.prior())
    assert (value - 1).abs() <= 5 * error


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@each_prior
def test_prior_is_finite_with_finite_gradients_over_many_decades(prior, dtype):
    distribution = built(prior=prior, dim=64).to(dtype).model.prior()
    value = torch.logspace(-6, 4, 11, dtype=dtype).unsqueeze(-1) * torch.nn.functional.normalize(
        torch.randn(64, dtype=dtype), dim=0
    )
    value.requires_grad_()
    log_prob = distribution.log_prob(value)
    assert torch.isfinite(log_prob).all()
    assert torch.isfinite(torch.autograd.grad(log_prob.sum(), value)[0]).all()


def likelihood_sites(module, target: Tensor | None, dim: int = D) -> dict:
    latent, scale = torch.randn(N, dim).double(), torch.rand(N, dim).double() + 0.2
    with poutine.trace() as traced, pyro.plate("images", N, dim=-1):
        module.model.likelihood(latent, scale, target)
    nodes = traced.trace.nodes.items()
    return {name: site for name, site in nodes if site["type"] == "sample" and name != "images"}


@each_likelihood
def test_likelihood_observes_its_sites_in_the_plate(likelihood: LikelihoodCase):
    module = built(likelihood=likelihood).double()
    sites = likelihood_sites(module, torch.randn(N, D).double())
    assert set(sites) == likelihood.sites
    assert module.model.likelihood.base_measure == likelihood.base_measure
    for site in sites.values():
        assert site["is_observed"]
        assert site["fn"].batch_shape == (N,)
        assert site["cond_indep_stack"][0].name == "images"
        assert torch.isfinite(site["fn"].log_prob(site["value"])).all()


@each_likelihood
def test_likelihood_draws_its_sites_without_a_target(likelihood):
    sites = likelihood_sites(built(likelihood=likelihood).double(), None)
    assert set(sites) == likelihood.sites
    for site in sites.values():
        assert not site["is_observed"]
        assert torch.isfinite(site["value"]).all()


@each_likelihood
def test_likelihood_integrates_to_one_within_five_standard_errors(likelihood):
    sites = likelihood_sites(built(likelihood=likelihood, dim=2).double(), None, dim=2)
    assert likelihood.lebesgue <= set(sites)
    for name in likelihood.lebesgue:
        value, error = integral(sites[name]["fn"])
        assert ((value - 1).abs() <= 5 * error).all(), name


@each_guide
def test_guide_infers_means_and_positive_scales_and_declares_the_latent(guide):
    module = built(guide=guide).double()
    posterior = module.guide.infer(module.guide.embed(views()[0]))
    assert {"mean", "scale"} <= {field.name for field in fields(posterior)}
    assert posterior.mean.shape == posterior.scale.shape == (N, D)
    assert (posterior.scale > 0).all()
    site = poutine.trace(module.guide).get_trace(posterior, torch.randn(N, D).double()).nodes["latent"]
    assert (site["fn"].batch_shape, site["fn"].event_shape) == ((N,), (D,))
    assert [frame.name for frame in site["cond_indep_stack"]] == ["images"]
    assert site["fn"].has_rsample


@each_guide
def test_mean_and_scale_are_those_of_the_guides_draws_within_five_standard_errors(guide):
    module, count = built(guide=guide).double(), 20_000
    with torch.no_grad():
        posterior = module.guide.infer(module.guide.embed(views()[0]))
        draws = posterior.distribution().sample((count,))
    variance = draws.var(0)
    fourth = (draws - draws.mean(0)).pow(4).mean(0)
    assert ((draws.mean(0) - posterior.mean).abs() <= 5 * (variance / count).sqrt()).all()
    error = ((fourth - variance.square()) / count).sqrt()
    assert ((variance - posterior.scale.square()).abs() <= 5 * error).all()


@each_guide
def test_guide_infers_in_float32_under_autocast(guide):
    module = built(guide=guide)
    with torch.autocast("cpu", torch.bfloat16):
        posterior = module.guide.infer(module.guide.embed(views(dtype=torch.float32)[0]))
    assert posterior.mean.dtype == posterior.scale.dtype == torch.float32


@pytest.mark.parametrize("particles", [1, 3], ids=["one_particle", "three_particles"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@each_guide
@each_likelihood
@each_prior
def test_all_swap_together_in_the_objective(prior, likelihood, guide, dtype, particles):
    module = built(f"objective.num_particles={particles}", prior=prior, likelihood=likelihood, guide=guide).to(dtype)
    terms = module(*views(dtype=dtype))
    assert set(terms.log_likelihood) == likelihood.sites
    for term in (terms.objective, terms.elbo, terms.kl, *terms.log_likelihood.values()):
        assert (term.shape, term.dtype) == ((2, N), dtype)
        assert torch.isfinite(term).all()
    terms.loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@each_guide
@each_likelihood
@each_prior
def test_gradient_of_the_loss_passes_gradcheck(prior, likelihood, guide):
    # With targets detached, the gradient is by design not that of the value.
    module = built("objective.detach_target=false", prior=prior, likelihood=likelihood, guide=guide).double()

    def loss(*images: Tensor) -> Tensor:
        torch.manual_seed(0)
        with KeyedNoise(0, 0):
            return module(*images).loss

    assert torch.autograd.gradcheck(loss, [view.requires_grad_() for view in views()], fast_mode=True)


@each_guide
@each_likelihood
@each_prior
def test_images_do_not_meet_but_in_batch_statistics(prior, likelihood, guide):
    module = built(prior=prior, likelihood=likelihood, guide=guide).double().eval()
    given = [view.requires_grad_() for view in views()]
    objective = module(*given).objective
    by_view = torch.autograd.grad(objective[0, 2], given[0])[0]
    assert by_view[2].abs().sum() > 0
    by_view[2] = 0
    assert (by_view == 0).all()
