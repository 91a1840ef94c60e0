import pytest
import torch
from torchvision.transforms import functional as torchvision_functional

from vje_ppl.data import ViewKey
from vje_ppl.data.transforms import GaussianBlur, GaussianNoise, RandomAffine
from vje_ppl.errors import UserError

FLOAT = torch.finfo(torch.float32).eps
COUNT = 24


@pytest.fixture
def images():
    return torch.randint(0, 256, (COUNT, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def key(seed=0, step=0, view=0, rows=slice(0, COUNT)):
    return ViewKey(seed, step, view, rows, COUNT)


def test_recipe_without_transforms_only_normalizes(images, make_recipe):
    recipe = make_recipe(geometry={}, color={}, filters={}, mean=[0.4, 0.5, 0.6], std=[0.1, 0.2, 0.3])
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    expected = (images / 255 - mean) / std
    # Values of at most 1 with a few roundings, divided by 0.1; the mean colour enters and cancels.
    torch.testing.assert_close(recipe.view(images, key()), expected, rtol=0, atol=20 * FLOAT / 0.1)


def test_views_are_float32_in_channels_last_memory_and_the_input_is_kept(images, make_recipe):
    before = images.clone()
    view = make_recipe(size=20).view(images, key())
    assert view.shape == (COUNT, 3, 20, 20)
    assert view.dtype == torch.float32
    assert view.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


def test_view_is_a_function_of_its_key(images, make_recipe):
    recipe = make_recipe()
    first = recipe.view(images, key())
    assert torch.equal(first, recipe.view(images, key()))
    for other in (key(seed=1), key(step=1), key(view=1)):
        assert not torch.equal(first, recipe.view(images, other))


@pytest.mark.parametrize("processes", [2, 3, 4, 12])
def test_rows_do_not_depend_on_how_many_processes_share_the_batch(images, make_recipe, processes):
    filters = {"affine": RandomAffine(10.0, 0.1), "blur": GaussianBlur(), "noise": GaussianNoise(0.1)}
    recipe = make_recipe(filters=filters)
    share = COUNT // processes
    parts = [slice(rank * share, (rank + 1) * share) for rank in range(processes)]
    together = torch.cat([recipe.view(images[rows], key(rows=rows)) for rows in parts])
    assert torch.equal(together, recipe.view(images, key()))


def test_row_does_not_depend_on_the_other_images(images, make_recipe):
    recipe = make_recipe()
    changed = images.clone()
    changed[1:] = 0
    assert torch.equal(recipe.view(images, key())[0], recipe.view(changed, key())[0])


@pytest.mark.parametrize("size", [32, 24])
@pytest.mark.parametrize("fraction", [1.0, 0.875])
def test_evaluation_equals_torchvisions_center_crop_and_resize(images, make_recipe, size, fraction):
    evaluation = make_recipe(size=size, center_fraction=fraction).evaluation
    side = round(32 * fraction)
    square = torchvision_functional.center_crop(images / 255, [side, side])
    if side != size:
        square = torchvision_functional.resize(square, [size, size], antialias=True)
    torch.testing.assert_close(evaluation(images), (square - 0.5) / 0.25, rtol=0, atol=20 * FLOAT / 0.25)


def test_evaluation_keeps_the_central_square_of_a_rectangle(make_recipe):
    images = torch.zeros(1, 3, 20, 40, dtype=torch.uint8)
    images[..., 10:30] = 255
    view = make_recipe(size=20).evaluation(images)
    torch.testing.assert_close(view, torch.full((1, 3, 20, 20), 2.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"size": 0}, "augment.size must be at least 1 pixel, got 0", id="size"),
        pytest.param({"center_fraction": 1.5}, r"center_fraction must lie in \(0, 1\], got 1.5", id="fraction"),
        pytest.param(
            {"mean": [0.1, 0.2]}, r"augment.mean must hold 1 value or one per channel \(3\), got 2", id="mean"
        ),
        pytest.param({"mean": [0.1] * 3, "channels": 1}, r"one per channel \(1\), got 3", id="colour for grey"),
        pytest.param({"std": [0.0]}, "augment.std must be positive", id="std"),
    ],
)
def test_impossible_recipe_is_refused(make_recipe, changes, message):
    with pytest.raises(UserError, match=message):
        make_recipe(**changes)


def test_images_smaller_than_the_views_are_refused(images, make_recipe):
    recipe = make_recipe(size=40)
    message = "images are 32×32 pixels, smaller than the views of 40×40.*augment.size to at most 32"
    with pytest.raises(UserError, match=message):
        recipe.view(images, key())
    with pytest.raises(UserError, match=message):
        recipe.evaluation(images)


def test_evaluation_refuses_another_number_of_channels(images, make_recipe):
    with pytest.raises(UserError, match=r"3 channel\(s\), got 1"):
        make_recipe().evaluation(images[:, :1])
