"""What all baselines have in common: whom the gradient reaches, precision, pairs of views, a missing lightly."""

from __future__ import annotations

import importlib.util
from itertools import combinations

import pytest
import torch
from torch import nn

from tests.helpers.baselines import BETWEEN_IMAGES, METHODS, OF_ALL_VIEWS, built, configured, views
from vje_ppl.errors import UserError
from vje_ppl.methods.method import Method, Terms
from vje_ppl.program.noise import KeyedNoise
from vje_ppl.settings.build import build_method

all_methods = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(autouse=True)
def step():
    """All losses of a test are those of one training step, with its random directions."""
    with KeyedNoise(0, 0):
        yield


@all_methods
def test_terms_are_what_the_harness_asks_for(method):
    module = built(method)
    assert isinstance(module, Method)
    terms = module(*views())
    assert isinstance(terms, Terms)
    assert module.program is None
    assert terms.loss.shape == ()
    assert terms.embeddings.shape == (2, 8, module.dim) == (2, 8, 7)
    assert not terms.embeddings.requires_grad
    assert all(value.shape == () and not value.requires_grad for value in terms.scalars().values())
    assert all(torch.isfinite(value).all() for value in terms.checked().values())
    torch.testing.assert_close(terms.embeddings[1], module.embed(views()[1]).detach())


@all_methods
def test_gradient_reaches_every_trainable_parameter_and_no_other(method):
    module = built(method)
    module(*views()).loss.backward()
    for name, parameter in module.named_parameters():
        is_target = name.startswith("target_")
        assert parameter.requires_grad != is_target, name
        assert (parameter.grad is None) == is_target, name
        if not is_target:
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("method", ["simsiam", "byol", "vi_simsiam"])
def test_targets_carry_no_gradient(method):
    module = built(method)
    view = views()[0].requires_grad_()
    prediction, target = module.branch(view, module.embed(view))
    assert prediction.requires_grad
    assert not target.requires_grad


@pytest.mark.parametrize("method", [name for name in METHODS if name not in OF_ALL_VIEWS])
def test_more_views_are_the_mean_over_their_pairs(method):
    module = built(method, "norm=group")
    three = views(3)
    together = module(*three)
    apart = [module(*pair) for pair in combinations(three, 2)]
    torch.testing.assert_close(together.loss, torch.stack([terms.loss for terms in apart]).mean())
    for name, value in together.scalars().items():
        torch.testing.assert_close(value, torch.stack([terms.scalars()[name] for terms in apart]).mean())


@all_methods
def test_the_order_of_the_views_does_not_matter(method):
    module = built(method, "norm=group")
    first, second = views()
    torch.testing.assert_close(module(first, second).loss, module(second, first).loss)


@all_methods
def test_losses_are_computed_in_float32_under_autocast(method, monkeypatch):
    module = built(method)
    seen = []
    of_views = module.of_views
    monkeypatch.setattr(
        module, "of_views", lambda all_: seen.extend(one for view in all_ for one in view) or of_views(all_)
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = module(*views())
    assert {tensor.dtype for tensor in seen} == {torch.float32}
    assert terms.loss.dtype == terms.embeddings.dtype == torch.float32
    terms.loss.backward()
    exact = built(method)(*views()).loss
    # bf16 keeps 8 bits: a few units of its last place, of losses that are sums of cosines or of up to P^2 squares.
    assert terms.loss.item() == pytest.approx(exact.item(), rel=0.1, abs=0.1)


@all_methods
def test_one_view_is_refused(method):
    with pytest.raises(ValueError, match="expects two or more views of a batch, got 1"):
        built(method)(views()[0])


@pytest.mark.parametrize("method", [name for name in METHODS if name not in BETWEEN_IMAGES])
def test_a_batch_of_one_has_a_loss(method):
    module = built(method, "norm=group")
    assert module.min_batch_size == 1
    loss = module(*views(images=1)).loss
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("method", BETWEEN_IMAGES)
def test_a_loss_between_images_says_how_many_it_needs(method):
    assert built(method).min_batch_size == 2
    assert torch.isfinite(built(method)(*views(images=2)).loss)


@all_methods
def test_without_a_projector_the_loss_is_on_z(method):
    module = built(method, "method.projector=[]")
    assert not [name for name, _ in module.named_parameters() if name.startswith(("projector.", "target_projector."))]
    one, other = views()
    z = [module.embed(view) for view in (one, other)]
    branches = [module.branch(view, embedding) for view, embedding in zip((one, other), z, strict=True)]
    last = branches[0][-1]  # the projection, or the target
    torch.testing.assert_close(last, z[0])
    loss = module(one, other).loss
    loss.backward()
    assert torch.isfinite(loss)
    for name, parameter in module.named_parameters():
        assert name.startswith("target_") or parameter.grad.abs().max() > 0, name
    module.after_step(0, 10)


@all_methods
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_heads_are_normalized_as_the_encoder(method, norm):
    module = built(method, f"norm={norm}")
    kinds = {type(part) for part in module.modules() if isinstance(part, nn.BatchNorm1d | nn.GroupNorm)}
    assert kinds == {nn.BatchNorm1d if norm == "batch" else nn.GroupNorm}


@all_methods
def test_images_are_embedded_alone_in_evaluation_mode(method):
    module = built(method).eval()
    view = views()[0]
    apart = torch.cat([module.embed(one) for one in view.split(1)])
    torch.testing.assert_close(module.embed(view), apart)


def test_a_missing_lightly_is_one_sentence(monkeypatch):
    config = configured("vicreg")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lightly" else find(name))
    with pytest.raises(UserError, match=r'^VICReg takes .* not installed; pip install "vje_ppl\[baselines\]"\.$'):
        build_method(config, 1, 4)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ("prior=laplace",),
            r"^prior is a part of method=vje, but method=simsiam has no such part; leave out prior=\.\.\.",
        ),
        (("+experiment/ablation=beta_1",), "^likelihood is a part of method=vje, but method=simsiam has no such part"),
        (
            ("method.projector=[0]",),
            r"^A head expects the width of each layer, at least 1, or \[\] for no layer, got \[0\]",
        ),
        (("method.projector=null",), r"^method\.projector expects a list \(a whole number each\), got null\."),
        (
            ("method._target_=torch.nn.Identity",),
            r"^method expects a subclass of vje_ppl\.Method, got Identity",
        ),
    ],
    ids=["a part of VJE", "an ablation of VJE", "no width", "no list", "no method"],
)
def test_what_makes_no_method_is_one_sentence(overrides, said):
    overrides = [override.removeprefix("+") for override in overrides]
    with pytest.raises(UserError, match=said):
        build_method(configured("simsiam", *overrides), 1, 4)
