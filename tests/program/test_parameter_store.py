"""Pyro's parameter store under SVI: what goes in, what is refused, and that the advice in each message works."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro.infer import SVI

from tests.helpers.programs import LearnedNormal, small_guide, small_model
from vje_ppl.models.priors.ard_normal import ARDNormal
from vje_ppl.models.scales import Free
from vje_ppl.program.objective import SymmetricConditionalELBO

N, D = 6, 3
PRIORS = {"pyros_parameters": LearnedNormal, "plain_parameters": ARDNormal}


def stepper(prior=LearnedNormal) -> SVI:
    model, guide = small_model(D, prior(D), Free(D)), small_guide(D)
    return SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), loss=SymmetricConditionalELBO())


def views() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(N, D, generator=generator, dtype=torch.float64) for _ in range(2)]


def loss(svi: SVI) -> float:
    torch.manual_seed(1)
    return svi.evaluate_loss(*views())


def parameters(svi: SVI) -> dict[str, torch.Tensor]:
    return {name: one.detach().clone() for part in (svi.model, svi.guide) for name, one in part.named_parameters()}


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_local_parameters_stay_out_of_the_store_and_are_trained(prior):
    with pyro.settings.context(module_local_params=True):
        for _ in range(2):
            svi = stepper(prior)
            before = parameters(svi)
            svi.step(*views())
            loss(svi)
            assert not [name for name, value in parameters(svi).items() if torch.equal(value, before[name])]
            assert len(pyro.get_param_store()) == 0


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_loaded_parameters_are_refused_until_the_modules_have_them(prior, tmp_path):
    svi = stepper(prior)
    for _ in range(5):
        svi.step(*views())
    trained = loss(svi)
    pyro.get_param_store().save(tmp_path / "store.pt")
    pyro.clear_param_store()
    svi = stepper(prior)
    assert loss(svi) != trained
    pyro.get_param_store().load(tmp_path / "store.pt")
    for call in (svi.evaluate_loss, svi.step):
        with pytest.raises(ValueError, match=r"call pyro\.module\('model', model, update_module_params=True\)"):
            call(*views())
    pyro.module("model", svi.model, update_module_params=True)
    pyro.module("guide", svi.guide, update_module_params=True)
    assert loss(svi) == trained
    svi.step(*views())
    assert loss(svi) != trained


def test_each_way_out_of_a_stale_store_works():
    stepper().step(*views())
    with pytest.raises(ValueError, match=r"clear_param_store\(\) .* or build it after .*module_local_params=True"):
        stepper().evaluate_loss(*views())
    with pyro.settings.context(module_local_params=True):
        svi = stepper()
        assert torch.isfinite(torch.tensor([svi.step(*views()), loss(svi)])).all()
    pyro.clear_param_store()
    svi = stepper()
    assert torch.isfinite(torch.tensor([svi.step(*views()), loss(svi)])).all()


def test_a_model_that_was_built_before_the_setting_is_told_of():
    svi = stepper()
    with (
        pyro.settings.context(module_local_params=True),
        pytest.raises(ValueError, match=r"VJE was built before .*module_local_params=True.*; build it again"),
    ):
        svi.step(*views())
