"""A frozen encoder, or its first stages: parameters and statistics stay, and all else is trained."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tests.helpers.baselines import NARROW
from tests.helpers.cases import composed
from vje_ppl.errors import UserError
from vje_ppl.methods.method import Method
from vje_ppl.networks.encoders import MLP, ResNet, SmallResNet
from vje_ppl.parallel.devices import start
from vje_ppl.settings.build import build_method
from vje_ppl.train.freezing import freeze
from vje_ppl.train.step import TrainingStep, parameter_groups

SMALL = ("encoder=small_resnet", "encoder.width=2", "batch_size=8", "trainer.epochs=2")
METHODS = {
    "vje": ("guide.network.width=2", "guide.network.depth=1"),
    **{name: (f"method={name}", *narrow) for name, narrow in NARROW.items()},
}


def stepped(*overrides: str, steps: int = 3) -> tuple[Method, dict[str, torch.Tensor]]:
    """A method after some steps of training, and its state before."""
    torch.manual_seed(0)
    config = composed(*SMALL, *overrides)
    module = build_method(config, 1, 8)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    step = TrainingStep(start("cpu", 1), module, config, steps_per_epoch=steps)
    for number in range(steps):
        step(number, torch.randn(2, 8, 1, 8, 8))
    return module, before


def moved(module: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """What has changed by more than the rounding of a target network that follows an equal one."""
    rounding = {"rtol": 1e-6, "atol": 0.0}
    return {
        name for name, tensor in module.state_dict().items() if not torch.allclose(tensor, before[name], **rounding)
    }


@pytest.mark.parametrize("method", METHODS)
def test_a_frozen_encoder_stays_and_the_rest_learns(method):
    module, before = stepped(*METHODS[method], "encoder.freeze=true")
    changed = moved(module, before)
    assert changed
    assert not [name for name in changed if "encoder." in name]


@pytest.mark.parametrize("method", METHODS)
def test_frozen_stages_stay_and_later_ones_learn(method):
    module, before = stepped(*METHODS[method], "encoder.freeze=2")
    place = "guide.encoder." if method == "vje" else "encoder."
    names = [name.removeprefix(place) for name in before if name.startswith(place)]
    changed = {name.removeprefix(place) for name in moved(module, before) if name.startswith(place)}
    assert changed == {name for name in names if name.startswith(("stages.2.", "stages.3."))}
    assert not [one for one in moved(module, before) if one.startswith("target_encoder.stem")]


@pytest.mark.parametrize("what", ["false", "0"])
def test_nothing_is_frozen_by_default(what):
    module, before = stepped(*METHODS["vje"], f"encoder.freeze={what}")
    assert moved(module, before) >= {name for name in before if name.startswith("guide.encoder.")}


def test_frozen_normalization_is_in_evaluation_mode_while_the_rest_trains():
    module, _ = stepped(*METHODS["vje"], "encoder.freeze=1", steps=1)
    modes = {name: part.training for name, part in module.encoder.named_modules() if isinstance(part, _BatchNorm)}
    assert {name for name, training in modes.items() if not training} == {"stem.1", "stages.0.bn1", "stages.0.bn2"}


ENCODERS = {
    "resnet50": lambda: ResNet("resnet50"),
    "small": lambda: SmallResNet(2, [2, 1, 3]),
    "mlp": lambda: MLP(1, 4),
}


@pytest.mark.parametrize(
    ("make", "count", "first"),
    [
        (ENCODERS["resnet50"], 4, ("stem.", "stages.0.")),
        (ENCODERS["small"], 3, ("stem.", "stages.0.", "stages.1.")),
        (ENCODERS["mlp"], 3, ("layers.1.", "layers.2.")),
    ],
    ids=ENCODERS,
)
def test_each_encoder_has_its_stages(make, count, first):
    encoder = make()
    freeze([encoder], 1)
    frozen = {name for name, parameter in encoder.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in encoder.named_parameters() if name.startswith(first)}
    freeze([encoder], count)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    with pytest.raises(UserError, match=f"encoder.freeze={count + 1} expects at most {count}, the stages"):
        freeze([encoder], count + 1)


def test_a_users_encoder_without_stages_can_be_frozen_as_a_whole():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(
        UserError, match=r"expects an encoder with stages, but Sequential has none; give encoder.freeze"
    ):
        freeze([encoder], 1)
    assert freeze([encoder], True) == [encoder, encoder[1]]
    assert not encoder[1].weight.requires_grad


@pytest.mark.parametrize("what", ["stem", -1, 1.5])
def test_another_value_is_refused(what):
    with pytest.raises(UserError, match=f"encoder.freeze expects true, false, or a number of stages, got {what}"):
        freeze([MLP(1, 4)], what)


def test_the_encoder_has_its_own_learning_rate():
    config = composed(*SMALL, "optimizer=sgd", "optimizer.encoder_lr=0.001", "optimizer.lr=0.5", "trainer.warmup=0")
    module = build_method(config, 1, 8)
    step = TrainingStep(start("cpu", 1), module, config, steps_per_epoch=1)
    step(0, torch.randn(2, 8, 1, 8, 8))
    of_encoder = {id(parameter) for parameter in module.encoder.parameters()}
    rates = {id(one): group["lr"] for group in step.optimizer.param_groups for one in group["params"]}
    assert rates == {id(one): 0.001 if id(one) in of_encoder else 0.5 for one in module.parameters()}
    assert step.learning_rate == 0.5
    assert {group["weight_decay"] for group in step.optimizer.param_groups} == {0.0, 1e-4}


def test_without_a_learning_rate_of_the_encoder_the_groups_are_as_ever():
    module = build_method(composed(*SMALL), 1, 8)
    groups = parameter_groups(module)
    assert [set(group) for group in groups] == [{"params"}, {"params", "weight_decay"}]
    assert sum(len(group["params"]) for group in groups) == len(list(module.parameters()))
