"""What the objective promises: fixed targets, symmetry, terms that add up, handlers, precision."""

from __future__ import annotations

from itertools import permutations

import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro import poutine
from pyro.nn import PyroModule
from torch import Tensor, nn

from tests.helpers.programs import DisguisedNormal, GivenNoise, LearnedNormal, StudentTPrior, small_guide, small_model
from vje_ppl import ObjectiveTerms, SymmetricConditionalELBO
from vje_ppl.guides.diagonal_normal import DiagonalNormal, DiagonalNormalPosterior
from vje_ppl.models.likelihoods.polar_student_t import PolarStudentT
from vje_ppl.models.priors.standard_normal import StandardNormal
from vje_ppl.models.radius import StudentTRadius
from vje_ppl.models.vje import VJE
from vje_ppl.networks.encoders import SmallResNet

N, D = 6, 4


def embeddings(count: int = 2, images: int = N) -> list[Tensor]:
    return [torch.randn(images, D).double().requires_grad_() for _ in range(count)]


def noise(pairs: int = 2, images: int = N, particles: int | None = None) -> Tensor:
    return torch.randn(*([particles] if particles else []), pairs, images, D).double()


def test_targets_get_no_gradient():
    guide, model, views = small_guide(D).eval(), small_model(D), embeddings()
    terms = SymmetricConditionalELBO().terms(model, guide, *views)
    by_source, by_target = torch.autograd.grad(terms.objective[0].sum(), views, retain_graph=True)
    assert by_source.abs().min() > 0
    assert (by_target == 0).all()
    by_target, by_source = torch.autograd.grad(terms.objective[1].sum(), views)
    assert by_source.abs().min() > 0
    assert (by_target == 0).all()


def test_targets_get_a_gradient_when_asked_for():
    guide, model, views = small_guide(D).eval(), small_model(D), embeddings()
    terms = SymmetricConditionalELBO(detach_target=False).terms(model, guide, *views)
    _, by_target = torch.autograd.grad(terms.objective[0].sum(), views)
    assert by_target.abs().min() > 0
    assert not terms.target.requires_grad


@pytest.mark.parametrize("particles", [None, 3], ids=["one_particle", "three_particles"])
def test_swapping_the_views_leaves_the_value_unchanged(particles):
    guide, model, (one, other) = small_guide(D), small_model(D), embeddings()
    objective, given_noise = SymmetricConditionalELBO(0.5, particles or 1), noise(particles=particles)
    with GivenNoise(given_noise):
        terms = objective.terms(model, guide, one, other)
    with GivenNoise(given_noise.flip(-3)):
        swapped = objective.terms(model, guide, other, one)
    torch.testing.assert_close(terms.loss, swapped.loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(terms.objective, swapped.objective.flip(0), rtol=1e-12, atol=1e-12)


@settings(deadline=None, derandomize=True, database=None, max_examples=15)
@given(order=st.permutations(range(3)), seed=st.integers(0, 1000))
def test_the_order_of_views_does_not_matter(order, seed):
    torch.manual_seed(seed)
    guide, model, views = small_guide(D), small_model(D), embeddings(3)
    given_noise, pairs = noise(6), list(permutations(range(3), 2))
    with GivenNoise(given_noise):
        loss = SymmetricConditionalELBO().differentiable_loss(model, guide, *views)
    reordered = given_noise[[pairs.index((order[a], order[b])) for a, b in pairs]]
    with GivenNoise(reordered):
        again = SymmetricConditionalELBO().differentiable_loss(model, guide, *(views[i] for i in order))
    torch.testing.assert_close(loss, again, rtol=1e-12, atol=1e-12)


@settings(deadline=None, derandomize=True, database=None, max_examples=15)
@given(order=st.permutations(range(N)), seed=st.integers(0, 1000))
def test_the_order_of_images_does_not_matter(order, seed):
    torch.manual_seed(seed)
    guide, model, views, given_noise = small_guide(D), small_model(D), embeddings(), noise()
    with GivenNoise(given_noise):
        terms = SymmetricConditionalELBO().terms(model, guide, *views)
    with GivenNoise(given_noise[:, order]):
        permuted = SymmetricConditionalELBO().terms(model, guide, *(view[order] for view in views))
    torch.testing.assert_close(permuted.loss, terms.loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(permuted.objective, terms.objective[:, order], rtol=1e-12, atol=1e-12)


@settings(deadline=None, derandomize=True, database=None, max_examples=25)
@given(
    beta=st.floats(0, 2),
    views=st.integers(2, 4),
    images=st.integers(2, 7),
    particles=st.integers(1, 3),
)
def test_terms_recombine_to_the_loss_and_have_their_shapes(beta, views, images, particles):
    terms = SymmetricConditionalELBO(beta, particles).terms(small_model(D), small_guide(D), *embeddings(views, images))
    pairs = views * (views - 1)
    assert isinstance(terms, ObjectiveTerms)
    assert set(terms.log_likelihood) == {"direction", "radius"}
    for term in (terms.objective, terms.elbo, terms.kl, *terms.log_likelihood.values()):
        assert term.shape == (pairs, images)
    assert terms.target.shape == terms.scale.shape == (pairs, images, D)
    assert terms.latent.shape == (*([particles] if particles > 1 else []), pairs, images, D)
    likelihood = terms.log_likelihood["direction"] + terms.log_likelihood["radius"]
    torch.testing.assert_close(terms.elbo, likelihood - terms.kl)
    torch.testing.assert_close(terms.objective, likelihood - beta * terms.kl)
    torch.testing.assert_close(terms.loss, -terms.objective.sum() / (pairs * images) / D)
    assert (terms.kl >= 0).all()


def test_pairs_come_in_the_order_of_permutations():
    guide, model, views = small_guide(D), small_model(D), embeddings(3)
    terms = SymmetricConditionalELBO().terms(model, guide, *views)
    for number, (source, other) in enumerate(permutations(range(3), 2)):
        assert torch.equal(terms.target[number], views[other].detach())
        torch.testing.assert_close(terms.scale[number], guide.infer(views[source]).scale.detach())


def test_what_is_only_watched_carries_no_graph():
    terms = SymmetricConditionalELBO().terms(small_model(D), small_guide(D), *embeddings())
    assert not any(tensor.requires_grad for tensor in (terms.target, terms.scale, terms.latent))
    assert all(tensor.requires_grad for tensor in (terms.loss, terms.objective, terms.elbo, terms.kl))


def test_more_particles_are_the_mean_of_single_ones():
    guide, model, views, given_noise = small_guide(D), small_model(D), embeddings(), noise(particles=3)
    with GivenNoise(given_noise):
        together = SymmetricConditionalELBO(0.2, 3).terms(model, guide, *views)
    single = []
    for one in given_noise:
        with GivenNoise(one):
            single.append(SymmetricConditionalELBO(0.2).terms(model, guide, *views))
    torch.testing.assert_close(together.objective, torch.stack([terms.objective for terms in single]).mean(0))
    torch.testing.assert_close(together.latent, torch.stack([terms.latent for terms in single]))


def test_particles_are_drawn_apart():
    latent = SymmetricConditionalELBO(num_particles=4).terms(small_model(D), small_guide(D), *embeddings()).latent
    assert not torch.isclose(latent[0], latent[1]).any()
    assert not torch.isclose(latent[:, 0], latent[:, 1]).any()


def test_embeds_and_infers_once_a_view_with_batch_statistics_of_its_own():
    encoder = SmallResNet(2, (1, 1)).double()
    guide, model = small_guide(4, encoder), small_model(4)
    views = [torch.randn(N, 3, 8, 8).double(), 5 + 3 * torch.randn(N, 3, 8, 8).double()]
    counts = {"embed": 0, "infer": 0}
    for name in counts:
        original = getattr(guide, name)

        def counted(argument, name=name, original=original):
            counts[name] += 1
            return original(argument)

        object.__setattr__(guide, name, counted)
    norm = encoder.stem[1]
    convolved = [encoder.stem[0](view) for view in views]
    SymmetricConditionalELBO(num_particles=3).terms(model, guide, *views)
    assert counts == {"embed": 2, "infer": 2}
    assert norm.num_batches_tracked == 2
    mean = torch.zeros(2).double()
    for features in convolved:  # one exponential average after the other, not one of both views
        mean = 0.9 * mean + 0.1 * features.mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, mean)


@pytest.fixture
def module_local():
    """Parameters stay in their modules, so that two models with parameters of one name do not meet."""
    with pyro.settings.context(module_local_params=True):
        yield


@pytest.mark.usefixtures("module_local")
def test_monte_carlo_and_closed_form_kl_agree_within_five_standard_errors():
    guide, views, particles = small_guide(D), embeddings(), 4000
    known, disguised = small_model(D, LearnedNormal(D)), small_model(D, DisguisedNormal(D))
    with torch.no_grad():
        closed = SymmetricConditionalELBO().terms(known, guide, *views)
        drawn = SymmetricConditionalELBO(num_particles=particles).terms(disguised, guide, *views)
        posterior = [guide.infer(view) for view in views]
        q = dist.Normal(torch.stack([one.mean for one in posterior]), torch.stack([one.scale for one in posterior]))
        ratio = q.to_event(1).log_prob(drawn.latent) - known.prior().log_prob(drawn.latent)
    torch.testing.assert_close(drawn.kl, ratio.mean(0))
    assert ((drawn.kl - closed.kl).abs() <= 5 * ratio.std(0) / particles**0.5).all()
    assert not torch.isclose(drawn.kl, closed.kl, rtol=1e-9).any()


@pytest.mark.usefixtures("module_local")
def test_gradients_of_monte_carlo_and_closed_form_kl_agree_within_five_standard_errors():
    guide, views, batches = small_guide(D), embeddings(), 40
    known, disguised = small_model(D, LearnedNormal(D)), small_model(D, DisguisedNormal(D))
    parameters = [*guide.parameters()]

    def gradient(model: VJE, particles: int) -> Tensor:
        kl = SymmetricConditionalELBO(num_particles=particles).terms(model, guide, *views).kl.mean()
        return torch.cat([part.flatten() for part in torch.autograd.grad(kl, parameters)])

    expected = gradient(known, 1)
    drawn = torch.stack([gradient(disguised, 50) for _ in range(batches)])
    error = (drawn.mean(0) - expected).abs()
    # Of a hundred numbers with 39 degrees of freedom each, none is expected beyond six standard errors.
    assert (error <= 6 * drawn.std(0) / batches**0.5 + 1e-12).all()


def test_a_prior_without_closed_form_works_with_one_particle():
    terms = SymmetricConditionalELBO().terms(small_model(D, StudentTPrior(D)), small_guide(D), *embeddings())
    assert torch.isfinite(terms.objective).all()
    terms.loss.backward()


class Half(nn.Module):
    """A guide of one's own that computes in half precision, and claims nothing about it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(D, 2 * D)

    def embed(self, view: Tensor) -> Tensor:
        return view.to(torch.bfloat16)

    def infer(self, embedding: Tensor) -> DiagonalNormalPosterior:
        mean, raw = torch.nn.functional.linear(
            embedding, self.linear.weight.bfloat16(), self.linear.bias.bfloat16()
        ).chunk(2, dim=-1)
        return DiagonalNormalPosterior(mean, raw.exp())

    def forward(self, posterior: DiagonalNormalPosterior, target: Tensor) -> None:
        with pyro.plate("images", posterior.mean.shape[-2], dim=-1):
            pyro.sample("latent", posterior.distribution())


def dtypes_of(model, guide, *views: Tensor) -> set[torch.dtype]:
    """Every dtype among parameters, values and densities of the sites, and the terms."""
    seen = []

    class Watch(poutine.messenger.Messenger):
        def _pyro_post_sample(self, msg):
            if not poutine.util.site_is_subsample(msg):
                fn = msg["fn"]
                seen.extend([msg["value"], fn.log_prob(msg["value"]), getattr(fn, "base_dist", fn).loc])

    with Watch():
        terms = SymmetricConditionalELBO().terms(model, guide, *views)
    seen.extend([terms.loss, terms.objective, terms.kl, terms.target, terms.scale, terms.latent])
    assert torch.isfinite(terms.loss)
    terms.loss.backward()
    return {tensor.dtype for tensor in (*seen, *terms.log_likelihood.values())}


class Rotated(PolarStudentT):
    """A likelihood with a matrix product of its own, which autocast would compute in half precision."""

    def forward(self, latent: Tensor, scale: Tensor, target: Tensor | None = None) -> None:
        super().forward(latent @ torch.eye(latent.shape[-1]).roll(1, 0), scale, target)


@pytest.mark.parametrize("likelihood", [PolarStudentT, Rotated])
def test_densities_are_float32_under_autocast(likelihood):
    guide, model = DiagonalNormal(32, SmallResNet(4)), VJE(StandardNormal(32), likelihood())
    views = [torch.randn(N, 3, 8, 8) for _ in range(2)]
    with torch.autocast("cpu", torch.bfloat16):
        assert guide.embed(views[0]).dtype == torch.bfloat16
        assert dtypes_of(model, guide, *views) == {torch.float32}


def test_densities_are_float32_even_if_the_guide_computes_in_half_precision():
    model = VJE(StandardNormal(D), PolarStudentT())
    assert dtypes_of(model, Half(), torch.randn(N, D), torch.randn(N, D)) == {torch.float32}


def test_densities_stay_float64():
    assert dtypes_of(small_model(D), small_guide(D), *embeddings()) == {torch.float64}


@pytest.mark.parametrize("weight", [2.5, torch.rand(N).double() + 0.5], ids=["number", "an_image"])
def test_scale_around_the_call_weighs_likelihood_and_kl(weight):
    guide, model, views, given_noise = small_guide(D), small_model(D), embeddings(), noise()
    with GivenNoise(given_noise):
        plain = SymmetricConditionalELBO(0.3).terms(model, guide, *views)
    with GivenNoise(given_noise), poutine.scale(scale=weight):
        scaled = SymmetricConditionalELBO(0.3).terms(model, guide, *views)
    torch.testing.assert_close(scaled.objective, weight * plain.objective)
    torch.testing.assert_close(scaled.kl, weight * plain.kl)
    for name in plain.log_likelihood:
        torch.testing.assert_close(scaled.log_likelihood[name], weight * plain.log_likelihood[name])


MASK = torch.tensor([True, False, True, True, False, True])


def test_mask_around_the_call_leaves_images_out_and_still_divides_by_all():
    guide, model, views, given_noise = small_guide(D), small_model(D), embeddings(), noise()
    with GivenNoise(given_noise):
        plain = SymmetricConditionalELBO(0.3).terms(model, guide, *views)
    with GivenNoise(given_noise), poutine.mask(mask=MASK):
        masked = SymmetricConditionalELBO(0.3).terms(model, guide, *views)
    torch.testing.assert_close(masked.objective, plain.objective * MASK)
    torch.testing.assert_close(masked.loss, -(plain.objective * MASK).sum() / (2 * N) / D)


HANDLERS = {
    "scale": lambda program: poutine.scale(program, scale=2.5),
    "scale_an_image": lambda program: poutine.scale(program, scale=torch.arange(1.0, N + 1).double()),
    "mask": lambda program: poutine.mask(program, mask=MASK),
    "mask_of_all": lambda program: poutine.mask(program, mask=False),
    "scale_and_mask": lambda program: poutine.scale(poutine.mask(program, mask=MASK), scale=0.5),
}


@pytest.mark.parametrize("particles", [None, 2], ids=["one_particle", "two_particles"])
@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
def test_handlers_around_model_and_guide_do_what_they_do_around_the_call(handler, particles):
    guide, model, views, given_noise = small_guide(D), small_model(D), embeddings(), noise(particles=particles)
    objective = SymmetricConditionalELBO(0.3, particles or 1)
    with GivenNoise(given_noise):
        wrapped = objective.terms(handler(model), handler(guide), *views)
    with GivenNoise(given_noise):
        around = handler(lambda: objective.terms(model, guide, *views))()
    torch.testing.assert_close(wrapped.objective, around.objective)
    torch.testing.assert_close(wrapped.kl, around.kl)


class MaskedPrior(StandardNormal):
    def forward(self) -> dist.TorchDistribution:
        return super().forward().expand([N]).mask(MASK)


class MaskedGuide(DiagonalNormal):
    def forward(self, posterior: DiagonalNormalPosterior, target: Tensor | None = None) -> Tensor:
        with pyro.plate("images", N, dim=-1):
            return pyro.sample("latent", posterior.distribution().mask(MASK))


class MaskedLikelihood(PolarStudentT):
    def forward(self, latent: Tensor, scale: Tensor, target: Tensor | None = None) -> None:
        with poutine.mask(mask=MASK):
            super().forward(latent, scale, target)


def test_masks_on_distributions_are_honoured():
    guide, views, given_noise = small_guide(D), embeddings(), noise()
    masked_guide = MaskedGuide(D, network=lambda *_: guide.network).double()
    masked_model = VJE(MaskedPrior(D), MaskedLikelihood(1.5, radius=StudentTRadius(3.0))).double()
    with GivenNoise(given_noise):
        plain = SymmetricConditionalELBO(0.3).terms(small_model(D), guide, *views)
    with GivenNoise(given_noise):
        masked = SymmetricConditionalELBO(0.3).terms(masked_model, masked_guide, *views)
    torch.testing.assert_close(masked.kl, plain.kl * MASK)
    torch.testing.assert_close(masked.objective, plain.objective * MASK)


@pytest.mark.parametrize("prior", [LearnedNormal, DisguisedNormal], ids=["closed_form", "monte_carlo"])
@pytest.mark.parametrize(("of_model", "of_guide"), [(3.0, 1.0), (1.0, 0.5)], ids=str)
def test_a_handler_around_one_program_alone_weighs_that_program_alone(of_model, of_guide, prior):
    guide, model, views, particles = small_guide(D), small_model(D, prior(D)), embeddings(), 4000
    with torch.no_grad():
        terms = SymmetricConditionalELBO(num_particles=particles).terms(
            poutine.scale(model, scale=of_model), poutine.scale(guide, scale=of_guide), *views
        )
        posterior = [guide.infer(view) for view in views]
        q = dist.Normal(torch.stack([one.mean for one in posterior]), torch.stack([one.scale for one in posterior]))
        p = LearnedNormal(D).double()()
        cross_entropy = -p.log_prob(terms.latent)
        expected = of_model * cross_entropy - of_guide * q.entropy().sum(-1)
        entropy_noise = of_guide * q.to_event(1).log_prob(terms.latent).std(0)
    bound = 5 * (of_model * cross_entropy.std(0) + entropy_noise) / particles**0.5
    assert ((terms.kl - expected.mean(0)).abs() <= bound).all()


def test_a_mask_around_the_model_alone_keeps_the_guides_entropy():
    guide, model, views, particles = small_guide(D), small_model(D, LearnedNormal(D)), embeddings(), 2000
    with torch.no_grad():
        terms = SymmetricConditionalELBO(num_particles=particles).terms(poutine.mask(model, mask=MASK), guide, *views)
        plain = SymmetricConditionalELBO().terms(model, guide, *views)
        posterior = [guide.infer(view) for view in views]
        q = dist.Normal(torch.stack([one.mean for one in posterior]), torch.stack([one.scale for one in posterior]))
    torch.testing.assert_close(terms.kl[:, MASK], plain.kl[:, MASK])
    error = terms.kl - torch.where(MASK, plain.kl, -q.entropy().sum(-1))
    spread = model.prior().log_prob(terms.latent).std(0)
    assert (error.abs() <= 5 * spread / particles**0.5 + 1e-12).all()
    assert (terms.objective[:, ~MASK] == -terms.kl[:, ~MASK]).all()


class Recorded(poutine.messenger.Messenger):
    """Keeps a site as it was last sampled."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.site = name, None

    def _pyro_post_sample(self, msg):
        if msg["name"] == self.name:
            self.site = dict(msg)


class Correlated(PyroModule):
    """A guide with an auxiliary latent that shifts the other's mean."""

    def __init__(self, inner: DiagonalNormal) -> None:
        super().__init__()
        self.inner = inner
        self.embed, self.infer = inner.embed, inner.infer

    def forward(self, posterior: DiagonalNormalPosterior, target: Tensor) -> None:
        with pyro.plate("images", N, dim=-1):
            pyro.sample("shift", dist.Normal(0.0 * posterior.mean, 1.0).to_event(1), infer={"is_auxiliary": True})
            pyro.sample("latent", posterior.distribution())


def test_auxiliary_sites_of_the_guide_count_with_their_density():
    guide, views = small_guide(D), embeddings()
    with Recorded("shift") as recorded:
        terms = SymmetricConditionalELBO().terms(small_model(D), Correlated(guide), *views)
    shift = recorded.site
    plain = SymmetricConditionalELBO().terms(small_model(D), guide, *views)
    torch.testing.assert_close(terms.kl - plain.kl, shift["fn"].log_prob(shift["value"]))


class Deterministic(VJE):
    def forward(self, posterior: DiagonalNormalPosterior, target: Tensor | None = None) -> Tensor:
        latent = super().forward(posterior, target)
        pyro.deterministic("norm", latent.norm(dim=-1))
        return latent


def test_deterministic_values_of_a_model_are_no_sites():
    model = Deterministic(StandardNormal(D), PolarStudentT()).double()
    assert set(SymmetricConditionalELBO().terms(model, small_guide(D), *embeddings()).log_likelihood) == {
        "direction",
        "radius",
    }


class Penalized(PolarStudentT):
    def forward(self, latent: Tensor, scale: Tensor, target: Tensor | None = None) -> None:
        super().forward(latent, scale, target)
        pyro.factor("penalty", -latent.square().sum(-1))


def test_a_factor_in_the_model_is_a_term_of_its_own():
    model = VJE(StandardNormal(D), Penalized(1.5, radius=StudentTRadius(3.0))).double()
    terms = SymmetricConditionalELBO().terms(model, small_guide(D), *embeddings())
    torch.testing.assert_close(terms.log_likelihood["penalty"].detach(), -terms.latent.square().sum(-1))
    torch.testing.assert_close(terms.elbo, sum(terms.log_likelihood.values()) - terms.kl)


def test_loss_is_the_same_number_without_a_graph():
    guide, model, views, given_noise = small_guide(D), small_model(D), embeddings(), noise()
    objective = SymmetricConditionalELBO(0.4)
    with GivenNoise(given_noise):
        expected = objective.differentiable_loss(model, guide, *views)
    with GivenNoise(given_noise):
        number = objective.loss(model, guide, *views)
    assert isinstance(number, float)
    assert number == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 1e2])
@pytest.mark.parametrize("length", [1e-6, 1.0, 1e4])
def test_loss_and_gradients_are_finite_over_many_decades_in_float32(length, scale):
    bounds = (2 * torch.tensor([scale * 0.99, scale * 1.01]).log()).tolist()
    guide = DiagonalNormal(64, log_variance_bounds=tuple(bounds))
    views = [(length * torch.randn(N, 64)).requires_grad_() for _ in range(2)]
    loss = SymmetricConditionalELBO().differentiable_loss(VJE(StandardNormal(64), PolarStudentT(0.1)), guide, *views)
    assert torch.isfinite(loss)
    for gradient in torch.autograd.grad(loss, [*views, *guide.parameters()]):
        assert torch.isfinite(gradient).all()
