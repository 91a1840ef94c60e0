"""Views that suit a published model."""

from __future__ import annotations

import pytest

from tests.helpers.cases import composed
from vje_ppl.errors import UserError
from vje_ppl.settings.model_input import with_model_input

TIMM = ("encoder=timm", "encoder.name=vit_small_patch16_224", "augment=cifar")


@pytest.fixture(autouse=True)
def _timm():
    pytest.importorskip("timm", reason="encoder=timm needs timm")


@pytest.mark.parametrize(("image_size", "size"), [(500, 224), (224, 224), (100, 96), (32, 32), (28, 16)])
def test_views_have_the_models_size_or_the_images_in_whole_patches(image_size, size):
    assert with_model_input(composed(*TIMM), image_size, 3).augment["size"] == size


def test_a_given_size_stays():
    assert with_model_input(composed(*TIMM, "augment.size=64"), 224, 3).augment["size"] == 64


@pytest.mark.parametrize(("channels", "mean"), [(3, [0.485, 0.456, 0.406]), (1, [0.449])])
def test_statistics_are_the_models(channels, mean):
    config = composed(*TIMM, "encoder.name=resnet50")
    changed = with_model_input(config, 32, channels)
    assert changed.augment.mean == pytest.approx(mean)
    assert len(changed.augment.std) == channels
    assert config.augment.mean[0] == 0.4914  # not changed


def test_views_stay_as_the_recipe_makes_them_if_asked_or_for_another_encoder():
    for config in (composed(*TIMM, "encoder.own_input=false"), composed("encoder=resnet18")):
        assert with_model_input(config, 32, 3) is config


def test_a_mistake_is_one_sentence():
    with pytest.raises(UserError, match=r"^timm has no model nope; timm.list_models\(\) has the names$"):
        with_model_input(composed(*TIMM, "encoder.name=nope"), 32, 3)
    with pytest.raises(UserError, match=r"encoder\.own_input expects true or false, got 1"):
        with_model_input(composed(*TIMM, "encoder.own_input=1"), 32, 3)
