"""A model or guide that breaks the contract gets a sentence that names the site."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI
from pyro.nn import PyroModule
from torch import Tensor, nn

from tests.helpers.programs import LearnedNormal, small_guide, small_model
from vje_ppl import SymmetricConditionalELBO
from vje_ppl.guides.diagonal_normal import DiagonalNormal
from vje_ppl.models.likelihoods.polar_student_t import PolarStudentT
from vje_ppl.models.priors.standard_normal import StandardNormal
from vje_ppl.models.scales import Free
from vje_ppl.models.vje import VJE

N, D = 5, 3


def images(count: int = N) -> pyro.plate:
    return pyro.plate("images", count, dim=-1)


def views(count: int = 2) -> list[Tensor]:
    return [torch.randn(N, D).double() for _ in range(count)]


def normal(posterior) -> dist.TorchDistribution:
    return dist.Normal(posterior.mean, posterior.scale)


class Guide(DiagonalNormal):
    """The diagonal Normal guide with another program."""

    def __init__(self, program) -> None:
        super().__init__(D)
        self.program = program
        self.double()

    def forward(self, posterior, target=None):
        return self.program(posterior, target)


def guide_without_latent(posterior, target):
    pass


def guide_with_another_name(posterior, target):
    with images():
        pyro.sample("s", normal(posterior).to_event(1))


def guide_with_one_site_more(posterior, target):
    with images():
        pyro.sample("latent", normal(posterior).to_event(1))
        pyro.sample("shift", dist.Normal(0.0, 1.0))


def guide_outside_the_plate(posterior, target):
    pyro.sample("latent", normal(posterior).to_event(1))


def guide_in_another_plate(posterior, target):
    with pyro.plate("data", N, dim=-1):
        pyro.sample("latent", normal(posterior).to_event(1))


def guide_without_event(posterior, target):
    with images():
        pyro.sample("latent", normal(posterior))


def guide_with_all_images_as_one_event(posterior, target):
    with images(1):
        pyro.sample("latent", normal(posterior).to_event(2))


def guide_with_narrow_latents(posterior, target):
    with images():
        pyro.sample("latent", dist.Normal(posterior.mean[..., :2], posterior.scale[..., :2]).to_event(1))


GUIDES = {
    "without_latent": (guide_without_latent, "The model's latent site 'latent' is missing in the guide"),
    "with_another_name": (guide_with_another_name, "The model's latent site 'latent' is missing in the guide"),
    "with_one_site_more": (guide_with_one_site_more, "The guide's site 'shift' is not a latent site of the model"),
    "outside_the_plate": (guide_outside_the_plate, "The guide's site 'latent' is not in the plate 'images'"),
    "in_another_plate": (guide_in_another_plate, "The guide's site 'latent' is not in the plate 'images'"),
    "without_event": (guide_without_event, r"plate\('images'\) at site latent .*; declare the features as an event"),
    "with_all_images_as_one_event": (guide_with_all_images_as_one_event, r"plate\('images'\) at site latent"),
    "with_narrow_latents": (guide_with_narrow_latents, "The model's site 'latent' has a distribution over"),
}


@pytest.mark.parametrize("particles", [1, 2], ids=["one_particle", "two_particles"])
@pytest.mark.parametrize(("program", "sentence"), GUIDES.values(), ids=GUIDES)
def test_a_guide_that_breaks_the_contract_is_told_which_site(program, sentence, particles):
    model = model_with(lambda latent, _: pyro.sample("direction", dist.Normal(latent[..., 0], 1.0), obs=torch.ones(())))
    with pytest.raises(ValueError, match=sentence) as caught:
        SymmetricConditionalELBO(num_particles=particles).terms(model, Guide(program), *views())
    assert "\n" not in str(caught.value)


def test_a_guide_whose_draws_carry_no_gradient_is_told_which_site():
    def counts_model(posterior, target):
        with images():
            latent = pyro.sample("latent", dist.Poisson(torch.ones(D).double()).to_event(1))
            pyro.sample("direction", dist.Normal(latent, 1.0).to_event(1), obs=target)

    def counts_guide(posterior, target):
        with images():
            pyro.sample("latent", dist.Poisson(posterior.scale).to_event(1))

    with pytest.raises(ValueError, match=r"The guide's site 'latent' draws from .* not reparameterized"):
        SymmetricConditionalELBO().terms(counts_model, Guide(counts_guide), *views())


def model_without_observed(posterior, target):
    with images():
        pyro.sample("latent", dist.Normal(torch.zeros(D).double(), 1.0).to_event(1))


def model_without_latent(posterior, target):
    with images():
        pyro.sample("direction", dist.Normal(torch.zeros(D).double(), 1.0).to_event(1), obs=target)


def model_without_sites(posterior, target):
    pass


def model_with(observe):
    def model(posterior, target):
        with images():
            latent = pyro.sample("latent", dist.Normal(torch.zeros(D).double(), 1.0).to_event(1))
            observe(latent, target)

    return model


def model_with_latent_outside_the_plate(posterior, target):
    pyro.sample("loc", dist.Normal(torch.zeros(D).double(), 1.0).to_event(1))
    model_with(lambda latent, target: pyro.sample("direction", dist.Normal(latent, 1.0).to_event(1), obs=target))(
        posterior, target
    )


def guide_for_latent_outside_the_plate(posterior, target):
    pyro.sample("loc", dist.Normal(torch.zeros(D).double(), 1.0).to_event(1))
    with images():
        pyro.sample("latent", normal(posterior).to_event(1))


def model_with_observed_outside_the_plate(posterior, target):
    with images():
        latent = pyro.sample("latent", dist.Normal(torch.zeros(D).double(), 1.0).to_event(1))
    pyro.sample("direction", dist.Normal(latent, 1.0).to_event(1), obs=target)


MODELS = {
    "without_sites": (model_without_sites, "not a latent site of the model|The model has no latent site"),
    "without_observed": (
        model_without_observed,
        "The model has no observed site, such as 'direction'; its sites are: latent",
    ),
    "without_latent": (model_without_latent, "The guide's site 'latent' is not a latent site of the model"),
    "observed_outside_the_plate": (
        model_with_observed_outside_the_plate,
        "The model's site 'direction' is not in the plate 'images'",
    ),
    "direction_without_event": (
        model_with(lambda latent, target: pyro.sample("direction", dist.Normal(latent, 1.0), obs=target)),
        r"plate\('images'\) at site direction .*; declare the features as an event dimension with .to_event\(1\)",
    ),
    "direction_of_another_width": (
        model_with(
            lambda latent, target: pyro.sample(
                "direction", dist.Normal(torch.zeros(D + 1).double(), 1.0).to_event(1), obs=target
            )
        ),
        "The model's site 'direction' has a distribution over .* but its value has shape",
    ),
    "radius_with_a_dimension_too_many": (
        model_with(
            lambda latent, target: pyro.sample(
                "radius", dist.Normal(latent[..., 0], 1.0), obs=target.norm(dim=-1, keepdim=True)
            )
        ),
        "The model's site 'radius' has a distribution over .* but its value has shape",
    ),
}


@pytest.mark.parametrize("validation", [True, False], ids=["validated", "not_validated"])
@pytest.mark.parametrize("particles", [1, 2], ids=["one_particle", "two_particles"])
@pytest.mark.parametrize(("model", "sentence"), MODELS.values(), ids=MODELS)
def test_a_model_that_breaks_the_contract_is_told_which_site(model, sentence, particles, validation):
    pyro.enable_validation(validation)
    with pytest.raises(ValueError, match=sentence) as caught:
        SymmetricConditionalELBO(num_particles=particles).terms(model, small_guide(D), *views())
    assert "\n" not in str(caught.value)


def test_a_latent_outside_the_plate_is_named():
    with pytest.raises(ValueError, match="The model's site 'loc' is not in the plate 'images'"):
        SymmetricConditionalELBO().terms(
            model_with_latent_outside_the_plate, Guide(guide_for_latent_outside_the_plate), *views()
        )


@pytest.mark.parametrize("images_and_features", [2, 3, 6], ids=str)
def test_a_missing_event_is_named_even_where_all_sizes_agree(images_and_features):
    size = images_and_features  # with as many views' pairs as images as features, every broadcast succeeds
    count = {2: 2, 6: 3}.get(size, 2)

    class Eventless(PyroModule):
        def forward(self, latent, scale, target=None):
            pyro.sample("direction", dist.Normal(latent, scale), obs=target)

    same = [torch.randn(size, size).double() for _ in range(count)]
    with pytest.raises(ValueError, match=r"direction.*\.to_event\(1\)"):
        SymmetricConditionalELBO().terms(VJE(StandardNormal(size), Eventless()).double(), small_guide(size), *same)


def test_a_prior_of_another_width_is_named():
    model = VJE(StandardNormal(D + 1), PolarStudentT()).double()
    with pytest.raises(ValueError, match=r"The model's site 'latent' has a distribution over .* its value has shape"):
        SymmetricConditionalELBO().terms(model, small_guide(D), *views())


class Bare(nn.Module):
    def forward(self, posterior, target):
        return None


class OnlyEmbeds(Bare):
    def embed(self, view):
        return view


@pytest.mark.parametrize(
    ("guide", "sentence"),
    [
        (Bare(), "The guide Bare has no embed and no infer; the objective calls"),
        (OnlyEmbeds(), "The guide OnlyEmbeds has no infer; the objective calls"),
        (guide_without_latent, "The guide function has no embed and no infer"),
        (poutine.scale(Bare(), scale=2.0), "The guide Bare has no embed and no infer"),
    ],
    ids=["neither", "only_embed", "function", "wrapped"],
)
def test_a_guide_without_embed_and_infer_is_told_so(guide, sentence):
    with pytest.raises(ValueError, match=sentence):
        SymmetricConditionalELBO().terms(small_model(D), guide, *views())


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "expects two or more views of a batch, got 0"),
        ([(N, D)], "expects two or more views of a batch, got 1"),
        ([(N, D), (N + 1, D)], r"expects views of one shape, .* got \(5, 3\) and \(6, 3\)"),
        ([(N, D), (N, D), (N, D + 1)], r"expects views of one shape"),
    ],
    ids=["none", "one", "another_number_of_images", "another_width"],
)
def test_views_that_do_not_match_are_told_so(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        SymmetricConditionalELBO().terms(
            small_model(D), small_guide(D), *(torch.randn(shape).double() for shape in given)
        )


@pytest.mark.parametrize(("beta", "particles"), [(-0.1, 1), (1.0, 0), (1.0, -3)])
def test_a_negative_beta_or_no_particle_is_refused(beta, particles):
    with pytest.raises(ValueError, match="expects beta >= 0 and num_particles >= 1, got"):
        SymmetricConditionalELBO(beta, particles)


def svi(model, guide) -> SVI:
    return SVI(model, guide, pyro.optim.SGD({"lr": 0.1}), loss=SymmetricConditionalELBO())


def test_a_stale_parameter_store_is_told_of():
    svi(small_model(D), small_guide(D)).step(*views())
    with pytest.raises(ValueError, match=r"already holds another 'guide\$\$\$.*'; call pyro.clear_param_store\(\)"):
        svi(small_model(D), small_guide(D)).step(*views())
    pyro.clear_param_store()
    svi(small_model(D), small_guide(D)).step(*views())


def test_a_store_of_another_shape_is_told_of():
    svi(small_model(D), small_guide(D)).step(*views())
    with pytest.raises(ValueError, match=r"call pyro\.clear_param_store"):
        svi(small_model(D + 1), small_guide(D + 1)).step(*(torch.randn(N, D + 1).double() for _ in range(2)))


def test_a_store_that_would_take_over_a_parameter_is_told_of():
    first, second = (small_model(D, LearnedNormal(D)) for _ in range(2))
    SymmetricConditionalELBO()(first, small_guide(D))(*views())
    with pytest.raises(ValueError, match=r"already holds another 'prior.scale'; .*module_local_params=True"):
        SymmetricConditionalELBO()(second, small_guide(D))(*views())
    SymmetricConditionalELBO()(first, small_guide(D))(*views())


def test_module_local_parameters_keep_two_models_apart():
    with pyro.settings.context(module_local_params=True):
        for _ in range(2):
            model = small_model(D, LearnedNormal(D))
            SymmetricConditionalELBO()(model, small_guide(D))(*views()).backward()
            assert model.prior.scale_unconstrained.grad.abs().min() > 0


def test_a_second_model_with_plain_parameters_needs_no_clearing_of_the_store():
    def loss_and_scale(init: float) -> tuple[float, Tensor]:
        torch.manual_seed(0)
        guide, model = small_guide(D), small_model(D, scale=Free(D, init))
        loss = SymmetricConditionalELBO()(model, guide)(*views())
        loss.backward()
        return loss.item(), model.scale.log_value

    first, _ = loss_and_scale(1.0)
    second, scale = loss_and_scale(3.0)
    pyro.clear_param_store()
    expected, _ = loss_and_scale(3.0)
    assert second == expected != first
    assert scale.grad.abs().min() > 0
