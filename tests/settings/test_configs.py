"""Every option of every group composes, and its part is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

import vje_ppl.configs
from tests.helpers.cases import composed
from vje_ppl import SymmetricConditionalELBO
from vje_ppl.data.augment import Augment
from vje_ppl.diagnose.faults import Fault
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.settings.build import build, build_joint_embedding, build_method
from vje_ppl.settings.groups import PROGRAM, method_name
from vje_ppl.train.step import build_optimizer

CONFIGS = Path(vje_ppl.configs.__file__).parent
IMAGE_SIZE = 8


def options() -> list[tuple[str, str]]:
    """Every (group, option) of `configs/`, groups within groups included."""
    paths = [path for path in sorted(CONFIGS.rglob("*.yaml")) if path.parent != CONFIGS]
    paths = [path for path in paths if CONFIGS / "study" not in path.parents]  # no group: see `reproduction`
    return [(path.parent.relative_to(CONFIGS).as_posix(), path.stem) for path in paths]


OPTIONS = options()
CUSTOM = [(group, name) for group, name in OPTIONS if name == "custom"]
GIVEN = [(group, name) for group, name in OPTIONS if name != "custom"]


def choosing(group: str, name: str) -> list[str]:
    """The overrides that choose an option; one within a group first chooses an option of that group that has it."""
    overrides = [f"{group}={name}"]
    chosen_by_train = [entry for entry in OmegaConf.load(CONFIGS / "train.yaml").defaults if entry != "_self_"]
    if "/" in group and not any(group in entry for entry in chosen_by_train):
        outer, inner = group.rsplit("/", 1)
        for path in sorted((CONFIGS / outer).glob("*.yaml")):
            defaults = OmegaConf.load(path).get("defaults", [])
            if any(inner in entry for entry in defaults if not isinstance(entry, str)):
                return [*choosing(outer, path.stem), *overrides]
        raise AssertionError(f"no option of {outer} has {inner} in its defaults list")
    return overrides


def node(config: DictConfig, group: str) -> Any:
    return OmegaConf.select(config, group.replace("/", "."))


def form(config: DictConfig) -> tuple[int, int]:
    """Channels and side of images that suit a configuration; feature vectors are images of one pixel."""
    of_features = "scaling" in config.encoder or "clean" in config.augment
    return (8, 1) if of_features else (len(config.augment.mean), IMAGE_SIZE)


def builds_all(config: DictConfig, group: str) -> None:
    channels, size = form(config)
    module = build_joint_embedding(config, channels, size, trust_targets=False)
    assert isinstance(module, JointEmbedding)
    images = torch.randn(2, 3, channels, size, size)
    assert torch.isfinite(module(*images).loss)


def builds_a_method(config: DictConfig, group: str) -> None:
    channels = len(config.augment.mean)
    module = build_method(config, channels, IMAGE_SIZE, trust_targets=False)
    is_vje = method_name(config) == "vje"
    assert isinstance(module, JointEmbedding) == is_vje
    assert all((part in config) == is_vje for part in PROGRAM)
    assert torch.isfinite(module(*torch.randn(2, 3, channels, IMAGE_SIZE, IMAGE_SIZE)).loss)


def builds_an_augmentation(config: DictConfig, group: str) -> None:
    channels, size = form(config)
    augment = build(config.augment, "augment", False, channels=channels, image_size=size)
    assert isinstance(augment, Augment)


def builds_an_objective(config: DictConfig, group: str) -> None:
    assert isinstance(build(config.objective, "objective", False), SymmetricConditionalELBO)


def builds_an_optimizer(config: DictConfig, group: str) -> None:
    module = build_joint_embedding(config, 1, IMAGE_SIZE)
    optimizer = build_optimizer(config.optimizer, module)
    parameter = next(module.parameters())
    before = parameter.detach().clone()
    parameter.sum().backward()
    optimizer.step()
    assert (parameter < before).all()
    assert optimizer.param_groups[0]["lr"] == config.optimizer.lr


def builds_a_logger(config: DictConfig, group: str) -> None:
    if "_target_" in config.logger:
        pytest.importorskip("wandb" if "Wandb" in config.logger._target_ else "tensorboard")
        build(config.logger, "logger")


def has_its_keys(config: DictConfig, group: str) -> None:
    assert set(node(config, group)) == set(node(composed(), group))


def names_a_loader(config: DictConfig, group: str) -> None:
    assert config.data._target_.startswith("vje_ppl.data.")


def composes_a_launcher(config: DictConfig, group: str) -> None:
    # Nothing of the run itself, nor of its name, depends on where it runs.
    assert config == composed(f"run.root={config.run.root}")


CHECKS: dict[str, Callable[[DictConfig, str], None]] = {
    "augment": builds_an_augmentation,
    "data": names_a_loader,
    "encoder": builds_all,
    "experiment": builds_all,
    "experiment/ablation": builds_all,
    "guide": builds_all,
    "guide/network": builds_all,
    "launcher": composes_a_launcher,
    "likelihood": builds_all,
    "likelihood/direction": builds_all,
    "likelihood/radius": builds_all,
    "likelihood/radius/scale": builds_all,
    "logger": builds_a_logger,
    "method": builds_a_method,
    "model": builds_all,
    "model/scale": builds_all,
    "objective": builds_an_objective,
    "optimizer": builds_an_optimizer,
    "prior": builds_all,
    "trainer": has_its_keys,
}


@pytest.mark.parametrize(("group", "name"), GIVEN, ids=[f"{group}={name}" for group, name in GIVEN])
def test_option_composes_and_its_part_is_built(group, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if group == "fault":  # of a diagnosis, not of a training
        with initialize_config_module("vje_ppl.configs", version_base="1.3"):
            config = compose("diagnose", overrides=[f"fault={name}"])
        assert isinstance(build(config.fault, "fault"), Fault)
        return
    assert group in CHECKS, f"configs/{group}/ is a new group; say in CHECKS how its options are checked"
    # Eight times as wide as the 2048 features of a ResNet-50, the inference network would take 1.5 GB.
    narrow = ["guide.network.width=1"] if group == "encoder" else []
    if (group, name) == ("encoder", "timm"):
        pytest.importorskip("timm", reason="encoder=timm needs timm")
        narrow = [*narrow, "encoder.name=test_resnet"]
    CHECKS[group](composed(*choosing(group, name), *narrow, f"run.root={tmp_path}"), group)


@pytest.mark.parametrize(("group", "name"), CUSTOM, ids=[f"{group}={name}" for group, name in CUSTOM])
def test_custom_option_holds_nothing_but_a_missing_target(group, name):
    held = OmegaConf.to_container(OmegaConf.load(CONFIGS / group / f"{name}.yaml"))
    assert {key: value for key, value in held.items() if key != "defaults"} == {"_target_": "???"}
    config = composed(f"{group}=custom", f"{group}._target_=my_module.Mine", f"+{group}.kappa=2")
    assert OmegaConf.to_container(node(config, group)) == {"_target_": "my_module.Mine", "kappa": 2}


@pytest.mark.parametrize("group", ["data", "encoder", "guide", "likelihood", "method", "prior"])
def test_parts_that_users_write_have_a_custom_option(group):
    assert (group, "custom") in OPTIONS


def test_default_is_complete_and_needs_no_download():
    config = composed()
    assert not OmegaConf.missing_keys(config)
    OmegaConf.to_container(config, resolve=True)
    assert config.data._target_.endswith(".digits")
    builds_all(config, "")


def test_the_command_line_has_the_last_word_over_what_a_data_set_chooses():
    assert composed("data=cifar10").encoder._target_.endswith("SmallResNet")
    assert composed("data=cifar10", "encoder=resnet18").encoder.arch == "resnet18"


@pytest.mark.parametrize("name", [name for group, name in GIVEN if group == "method"])
def test_a_method_has_its_own_name_and_goes_with_any_data(name):
    config = composed(f"method={name}", "experiment=cifar10_small", "norm=group")
    assert method_name(config) == name
    assert config.encoder._target_.endswith("SmallResNet")
    assert name == "vje" or config.method.norm == "group"


def test_vje_is_the_default_and_leaves_no_mark():
    assert composed("method=vje") == composed()
    assert "method" not in composed()


def test_an_unknown_key_is_refused():
    with pytest.raises(Exception, match=r"Could not override 'objective\.betta'"):
        composed("objective.betta=1")


def test_norm_reaches_encoder_and_inference_network():
    module = build_joint_embedding(composed("norm=group", "encoder=small_resnet", "encoder.width=2"), 3, IMAGE_SIZE)
    assert not any(isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in module.modules())


#: The model of all ablations, which some of them replace.
BASE = "likelihood=polar_student_t"


def on_the_base(*overrides: str) -> list[str]:
    return [BASE, *overrides] if not any(one.startswith("likelihood=") for one in overrides) else list(overrides)


ABLATIONS = {
    "free_scale": "model/scale=free",
    "detached_scale": "model.scale.detach=true",
    "factorized_direction": "likelihood/direction=factorized",
    "projected_radius": "likelihood/radius/scale=projected",
    "no_radius": "likelihood/radius=none",
    "isotropic_scale": "model/scale=isotropic",
    "gaussian_limit": "likelihood=polar_normal",
    "cartesian": "likelihood=cartesian_student_t",
    "close_to_gaussian": "likelihood.df=30",
    "other_tail_of_the_radius": "likelihood.radius.df=30",
    "beta_of_one": "objective.beta=1",
    "targets_not_detached": "objective.detach_target=false",
    "more_particles": "objective.num_particles=4",
    "narrow_inference_network": "guide.network.width=2",
    "shallow_inference_network": "guide.network.depth=1",
}


@pytest.mark.parametrize("override", ABLATIONS.values(), ids=ABLATIONS)
def test_an_ablation_is_one_override_and_changes_value_or_gradient(override):
    def loss(*changes: str) -> float:
        torch.manual_seed(0)
        module = build_joint_embedding(composed("encoder.width=8", *changes), 1, IMAGE_SIZE)
        torch.manual_seed(1)
        value = module(*torch.randn(2, 4, 1, IMAGE_SIZE, IMAGE_SIZE)).loss
        value.backward()
        gradients = [parameter.grad for parameter in module.guide.parameters()]
        return value.item() + sum(gradient.abs().sum().item() for gradient in gradients)

    assert loss(*on_the_base(override)) != loss(*on_the_base())


#: The paper's questions: what each experiment changes, as one would type it.
QUESTIONS = {
    "base": [],
    "free_scale": ["model/scale=free"],
    "isotropic_scale": ["model/scale=isotropic"],
    "cartesian": ["likelihood=cartesian_student_t"],
    "factorized": ["likelihood/direction=factorized"],
    "nu_2": ["likelihood.df=2"],
    "nu_5": ["likelihood.df=5"],
    "nu_30": ["likelihood.df=30"],
    "nu_infinity": ["likelihood=polar_normal"],
    "beta_0.01": ["objective.beta=0.01"],
    "beta_0.03": ["objective.beta=0.03"],
    "beta_0.3": ["objective.beta=0.3"],
    "beta_1": ["objective.beta=1"],
    "no_stop_gradient": ["objective.detach_target=false"],
    "no_radius": ["likelihood/radius=none"],
}


@pytest.mark.parametrize("name", [name for group, name in OPTIONS if group == "experiment/ablation"])
def test_an_ablation_experiment_is_one_override_over_the_base(name):
    overrides = QUESTIONS[name]
    assert len(overrides) == (name != "base")
    assert composed(f"experiment/ablation={name}") == composed(*on_the_base(*overrides))


@pytest.mark.parametrize("budget", [["data=cifar10", "encoder.width=4"], ["experiment=cifar10_small"]], ids=str)
def test_an_ablation_changes_whatever_else_is_chosen(budget):
    assert composed(*budget, "experiment/ablation=no_radius") == composed(
        *budget, *on_the_base("likelihood/radius=none")
    )


def test_an_ablation_is_an_experiment_like_others():
    assert composed("experiment=ablation/no_radius") == composed("experiment/ablation=no_radius")


def test_every_question_of_the_paper_has_its_experiment():
    assert set(QUESTIONS) == {name for group, name in OPTIONS if group == "experiment/ablation"}
    default = composed()
    assert (default.likelihood.df, default.likelihood.radius.df, default.objective.beta) == (1, 1, 0.1)
    assert default.objective.detach_target
