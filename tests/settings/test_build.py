"""From configurations to objects: what parts are offered, which targets are trusted, what errors say."""

from __future__ import annotations

import sys
from functools import partial

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from tests.helpers.cases import composed
from vje_ppl import SymmetricConditionalELBO
from vje_ppl.data import ViewKey
from vje_ppl.errors import UserError
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.models.priors.standard_normal import StandardNormal
from vje_ppl.settings.build import build, build_augment, build_joint_embedding, count_parameters
from vje_ppl.settings.identity import MOVED

PARTS = """
from pyro.nn import PyroModule
import pyro
import pyro.distributions as dist
import torch
from torch import nn

calls = []

class AsksForDim:
    def __init__(self, dim, kappa=1.0, inner=None, items=()):
        self.dim, self.kappa, self.inner, self.items = dim, kappa, inner, items

class DoesNotAsk:
    def __init__(self, kappa=1.0, inner=None):
        self.kappa, self.inner = kappa, inner

class TakesAnything:
    def __init__(self, **options):
        self.options = options

class Refuses:
    def __init__(self, kappa):
        raise ValueError(f"Refuses expects no kappa at all, got {kappa}." if kappa else "")

class Breaks:
    def __init__(self):
        raise RuntimeError("out of order")

class Prior(PyroModule):
    def __init__(self, dim, kappa):
        super().__init__()
        self.loc = nn.Parameter(torch.full((dim,), float(kappa)))

    def bind(self, infer):
        calls.append(infer)

    def forward(self):
        return dist.Laplace(self.loc, torch.ones_like(self.loc)).to_event(1)

class Likelihood(PyroModule):
    base_measure = "Lebesgue"

    def forward(self, latent, scale, target=None):
        pyro.sample("embedding", dist.Normal(latent, scale).to_event(1), obs=target)

def dangerous(*args, **kwargs):
    calls.append((args, kwargs))
"""


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A module of a user's own, `my_parts`, that a configuration can name."""
    (tmp_path / "my_parts.py").write_text(PARTS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_parts"
    sys.modules.pop("my_parts", None)


def test_offers_a_value_only_to_those_that_ask(parts):
    assert build({"_target_": "my_parts.AsksForDim"}, "prior", dim=7, channels=3).dim == 7
    assert build({"_target_": "my_parts.DoesNotAsk"}, "prior", dim=7).kappa == 1
    assert build({"_target_": "my_parts.TakesAnything"}, "prior", dim=7).options == {}


def test_what_the_configuration_sets_wins_over_what_is_offered(parts):
    assert build({"_target_": "my_parts.AsksForDim", "dim": 2}, "prior", dim=7).dim == 2


def test_offers_to_nested_parts_and_lists_too(parts):
    config = {
        "_target_": "my_parts.DoesNotAsk",
        "inner": {
            "_target_": "my_parts.AsksForDim",
            "items": [{"_target_": "my_parts.AsksForDim"}, {"plain": {"_target_": "my_parts.AsksForDim", "dim": 1}}],
        },
    }
    inner = build(config, "prior", dim=7).inner
    assert inner.dim == 7
    assert inner.items[0].dim == 7
    assert inner.items[1]["plain"].dim == 1


def test_offers_to_partial_parts(parts):
    made = build({"_target_": "my_parts.AsksForDim", "_partial_": True, "kappa": 3.0}, "prior", dim=7)
    assert isinstance(made, partial)
    assert (made().dim, made().kappa) == (7, 3.0)


def test_offered_objects_arrive_as_they_are(parts):
    encoder = nn.Linear(2, 2)
    assert build({"_target_": "my_parts.DoesNotAsk"}, "guide", inner=encoder).inner is encoder


def test_parts_get_plain_lists_and_dicts(parts):
    config = OmegaConf.create({"_target_": "my_parts.AsksForDim", "inner": {"a": [1, 2]}, "items": [3, 4]})
    made = build(config, "prior", dim=1)
    assert (type(made.inner), type(made.inner["a"]), type(made.items)) == (dict, list, list)


def test_leaves_the_configuration_as_it_was(parts):
    config = OmegaConf.create({"_target_": "my_parts.AsksForDim", "items": [{"_target_": "my_parts.AsksForDim"}]})
    before = OmegaConf.to_container(config)
    build(config, "prior", dim=7)
    assert OmegaConf.to_container(config) == before


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (None, "prior expects a configuration with a _target_, .* got None; choose an option with prior="),
        ({}, "prior expects a configuration with a _target_, .* got {}"),
        ({"dim": 3}, "prior expects a configuration with a _target_"),
        ({"_target_": "???"}, r"prior._target_ expects the dotted path of a class, got '\?\?\?'"),
        ({"_target_": 3}, "prior._target_ expects the dotted path of a class, got 3"),
        ({"_target_": "my_parts.Missing"}, "prior._target_ expects something importable, got 'my_parts.Missing'"),
        ({"_target_": "no_such_module.X"}, "prior._target_ expects something importable, .*No module named"),
        ({"_target_": "justaname"}, "prior._target_ expects something importable"),
        (
            {"_target_": "my_parts.Refuses", "kappa": 2},
            "prior could not be built from my_parts.Refuses: Refuses expects",
        ),
        ({"_target_": "my_parts.Refuses", "kappa": 0}, "prior could not be built from my_parts.Refuses: ValueError"),
        (
            {"_target_": "my_parts.DoesNotAsk", "lambda": 2},
            "prior could not be built from .*unexpected keyword .*lambda",
        ),
        ({"_target_": "my_parts.Refuses"}, "prior could not be built from .*missing 1 required .*kappa"),
        (
            {"_target_": "my_parts.DoesNotAsk", "inner": {"_target_": "my_parts.Missing"}},
            "prior.inner._target_ expects something importable, got 'my_parts.Missing'",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value)[:60],
)
def test_errors_are_one_sentence_that_names_the_key(parts, config, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        build(config, "prior")
    assert "\n" not in str(caught.value)


def test_an_error_inside_a_part_that_is_nobodys_typing_stays_whole(parts):
    with pytest.raises(Exception, match="out of order") as caught:
        build({"_target_": "my_parts.Breaks"}, "prior")
    assert not isinstance(caught.value, UserError)


UNTRUSTED = {
    "another_package": {"_target_": "os.system", "command": "true"},
    "not_imported": {"_target_": "my_parts.dangerous"},
    "builtin": {"_target_": "builtins.eval"},
    "name_that_only_begins_alike": {"_target_": "vje_ppl_evil.X"},
    "through_one_of_our_modules": {"_target_": "vje_ppl.runs.checkpoint.os.system", "command": "true"},
    "through_a_module_of_parts": {
        "_target_": "vje_ppl.networks.encoders.nn.Linear",
        "in_features": 1,
        "out_features": 1,
    },
    "through_a_class": {"_target_": "vje_ppl.networks.encoders.MLP.forward.__globals__.__getitem__"},
    "nested": {"_target_": "vje_ppl.networks.encoders.MLP", "channels": {"_target_": "my_parts.dangerous"}},
    "nested_in_a_list": {
        "_target_": "vje_ppl.networks.encoders.MLP",
        "channels": [[{"_target_": "my_parts.dangerous"}]],
    },
    "partial": {"_target_": "my_parts.dangerous", "_partial_": True},
    "loading_another_run": {"_target_": "vje_ppl.load", "run": "elsewhere", "trust_targets": True},
    "building_what_it_is_told": {
        "_target_": "vje_ppl.settings.build.build",
        "config": [["_target_", "my_parts.dangerous"]],
        "part": "prior",
    },
}


@pytest.mark.parametrize("config", UNTRUSTED.values(), ids=UNTRUSTED)
def test_untrusted_targets_are_refused_before_anything_is_called_or_imported(parts, config):
    with pytest.raises(UserError, match=r"prior\.?\w*._target_ is '.*trust_targets=True") as caught:
        build(config, "prior", trust_targets=False)
    assert "\n" not in str(caught.value)
    assert "my_parts" not in sys.modules


def test_targets_are_trusted_when_asked_for(parts):
    build({"_target_": "my_parts.dangerous", "word": "x"}, "prior", trust_targets=True)
    assert sys.modules["my_parts"].calls == [((), {"word": "x"})]


@pytest.mark.parametrize("trust_targets", [True, False])
def test_a_part_is_found_where_it_has_moved_to(monkeypatch, trust_targets):
    monkeypatch.setitem(MOVED, "vje_ppl.old.place", "vje_ppl.models.priors.standard_normal")
    inner = {"_target_": "vje_ppl.old.place.StandardNormal", "dim": 3}
    prior = build({"_target_": "vje_ppl.old.place.StandardNormal"}, "prior", trust_targets, dim=4)
    assert isinstance(prior, StandardNormal)
    (nested,) = build({"_target_": "builtins.tuple", "_args_": [[inner]]}, "prior", True)
    assert (type(nested), nested.dim) == (StandardNormal, 3)


def test_an_old_address_is_trusted_no_more_than_the_new_one(parts, monkeypatch):
    monkeypatch.setitem(MOVED, "vje_ppl.models.old", "my_parts")
    with pytest.raises(UserError, match="trust_targets=True"):
        build({"_target_": "vje_ppl.models.old.dangerous"}, "prior", trust_targets=False)
    assert "my_parts" not in sys.modules


def test_our_own_parts_need_no_trust():
    prior = build({"_target_": "vje_ppl.models.priors.standard_normal.StandardNormal"}, "prior", False, dim=4)
    assert isinstance(prior, StandardNormal)
    assert prior.dim == 4


def test_joint_embedding_is_put_together_from_its_parts():
    config = composed("encoder.dim=5", "model/scale=free", "objective.beta=0.25", "guide.network.width=2")
    module = build_joint_embedding(config, channels=1, image_size=8, trust_targets=False)
    assert isinstance(module, JointEmbedding)
    assert isinstance(module.elbo, SymmetricConditionalELBO)
    assert module.elbo.beta == 0.25
    assert module.guide.encoder.dim == module.guide.dim == module.model.prior.dim == 5
    assert module.model.scale(torch.ones(1, 1, 5)).shape == (1, 1, 5)
    assert [part.out_features for part in module.guide.network.modules() if isinstance(part, nn.Linear)] == [10, 10, 10]
    assert torch.isfinite(module(torch.randn(4, 1, 8, 8), torch.randn(4, 1, 8, 8)).loss)


def test_a_prior_that_asks_for_the_inference_network_is_bound_once(parts):
    overrides = ("prior=custom", "prior._target_=my_parts.Prior", "+prior.kappa=2", "encoder.dim=5")
    module = build_joint_embedding(composed(*overrides), channels=1, image_size=8)
    assert sys.modules["my_parts"].calls == [module.guide.infer]


def test_parts_of_ones_own_train_beside_ours(parts):
    overrides = (
        "prior=custom",
        "prior._target_=my_parts.Prior",
        "+prior.kappa=2",
        "likelihood=custom",
        "likelihood._target_=my_parts.Likelihood",
        "encoder.dim=5",
    )
    module = build_joint_embedding(composed(*overrides), channels=1, image_size=8)
    terms = module(torch.randn(4, 1, 8, 8), torch.randn(4, 1, 8, 8))
    assert set(terms.log_likelihood) == {"embedding"}
    terms.loss.backward()
    assert module.model.prior.loc.grad.abs().min() > 0


def test_a_loaded_configuration_with_parts_of_ones_own_is_not_trusted(parts):
    config = composed("prior=custom", "prior._target_=my_parts.Prior", "+prior.kappa=2")
    with pytest.raises(UserError, match=r"prior\._target_ is 'my_parts\.Prior'"):
        build_joint_embedding(config, channels=1, image_size=8, trust_targets=False)


def test_counts_trainable_parameters():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    assert count_parameters(module) == 3 * 4 + 4 + 8 + 4 * 2 + 2
    module[0].requires_grad_(False)
    assert count_parameters(module) == 8 + 4 * 2 + 2


@pytest.mark.parametrize(("given", "last"), [("auto", True), ("true", True), ("false", False)])
def test_channels_last_reaches_training_views_and_prepared_images(given, last):
    augment = build_augment(composed(f"trainer.channels_last={given}", "augment=cifar"), channels=3, image_size=8)
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    pixels = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # stored the other way round
    for source in (images, pixels):
        key = ViewKey(seed=0, step=0, view=0, rows=slice(0, 4), batch_size=4)
        for views in (augment.view(source, key), augment.evaluation(source), augment.evaluation.finish(source)):
            assert views.is_contiguous(memory_format=torch.channels_last) is last
            assert views.is_contiguous() is not last
