"""The configurations of data sets and recipes, composed as the command line composes them."""

import inspect
from importlib.resources import files

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import get_method, instantiate

from vje_ppl.data import Augment, ViewKey


def names(group):
    paths = (files("vje_ppl.configs") / group).iterdir()
    return sorted(path.name.removesuffix(".yaml") for path in paths if path.name != "custom.yaml")


@pytest.fixture
def composed():
    def make(*overrides):
        with initialize_config_module("vje_ppl.configs", version_base=None):
            return compose("train", overrides=list(overrides))

    return make


#: Recipes for images; that for feature vectors has no pixels to change.
RECIPES = [name for name in names("augment") if name != "features"]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_recipe_makes_views_of_both_kinds_of_images(composed, name, channels):
    node = composed(f"augment={name}").augment
    if len(node.mean) > 1 and channels == 1:
        node.mean, node.std = [0.5], [0.25]
    recipe = instantiate(node, channels=channels, image_size=16)
    assert isinstance(recipe, Augment)
    images = torch.randint(0, 256, (4, channels, 20, 20), dtype=torch.uint8)
    for prepared in (recipe.view(images, ViewKey(0, 0, 0, slice(0, 4), 4)), recipe.evaluation(images)):
        assert prepared.shape == (4, channels, 16, 16)
        assert prepared.isfinite().all()


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_share_their_keys(composed, name):
    keys = {"_target_", "_convert_", "size", "center_fraction", "mean", "std", "geometry", "color", "filters"}
    assert set(composed(f"augment={name}").augment) == keys


@pytest.mark.parametrize("name", names("data"))
def test_data_set_brings_its_companions_and_knows_its_keys(composed, name):
    config = composed(f"data={name}")
    loader = get_method(config.data._target_)
    assert loader.__name__ == name
    assert set(config.data) - {"_target_"} == set(inspect.signature(loader).parameters)
    if name == "features":
        assert (config.augment.clean, config.encoder.scaling) == (False, "standard")
        return
    grey = name in ("digits", "fashion_mnist", "mnist")
    assert len(config.augment.mean) == (1 if grey else 3)
    assert (config.encoder._target_ == "vje_ppl.networks.encoders.MLP") == (name == "digits")


def test_defaults_of_data_files_are_those_of_the_loaders(composed):
    for name in names("data"):
        config = composed(f"data={name}")
        for key, parameter in inspect.signature(get_method(config.data._target_)).parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                assert config.data[key] == parameter.default, (name, key)


def test_command_line_beats_the_companions(composed):
    config = composed("data=cifar10", "encoder=mlp", "augment=imagenet", "augment.color.jitter.hue=0.2")
    assert config.encoder._target_ == "vje_ppl.networks.encoders.MLP"
    assert "blur" in config.augment.filters
    assert config.augment.color.jitter.hue == 0.2
    assert "grayscale" not in composed("data=cifar10", "~augment.color.grayscale").augment.color


def test_root_follows_the_environment(composed, monkeypatch):
    monkeypatch.delenv("VJE_DATA", raising=False)
    assert composed("data=cifar10").data.root == "data"
    monkeypatch.setenv("VJE_DATA", "/somewhere")
    assert composed("data=cifar10").data.root == "/somewhere"
    assert composed("data=imagenet").data.root == "/somewhere/imagenet"
