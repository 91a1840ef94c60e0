import colorsys
import math

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as torchvision_functional

from vje_ppl.data.transforms import ColorJitter, RandomGrayscale
from vje_ppl.data.transforms.color_jitter import brightness_map, contrast_map, hue_map, saturation_map
from vje_ppl.data.transforms.color_map import LUMA, ColorMap
from vje_ppl.errors import UserError

FLOAT = torch.finfo(torch.float32).eps
# torchvision's grey has weights 0.2989, 0.587, 0.114, which differ from ours by 1e-4 in the first and in their sum.
GREY = 1e-4


def colors(low=0.3, high=0.6, channels=3):
    generator = torch.Generator().manual_seed(2)
    return low + (high - low) * torch.rand(4, channels, 6, 5, generator=generator)


def applied(color_map, images):
    return color_map.apply(images * 255)


@pytest.mark.parametrize(
    ("make", "reference"),
    [
        pytest.param(brightness_map, torchvision_functional.adjust_brightness, id="brightness"),
        pytest.param(contrast_map, torchvision_functional.adjust_contrast, id="contrast"),
        pytest.param(saturation_map, torchvision_functional.adjust_saturation, id="saturation"),
    ],
)
@pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
def test_map_equals_torchvisions_where_nothing_clamps(make, reference, factor):
    images = colors()
    theirs = torch.stack([reference(image, factor) for image in images])
    assert theirs.min() > 0
    assert theirs.max() < 1
    tolerance = abs(1 - factor) * GREY + 100 * FLOAT
    torch.testing.assert_close(applied(make(np.full(4, factor)), images), theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("make", "reference"),
    [
        pytest.param(brightness_map, torchvision_functional.adjust_brightness, id="brightness"),
        pytest.param(contrast_map, torchvision_functional.adjust_contrast, id="contrast"),
    ],
)
def test_map_of_grey_images_equals_torchvisions(make, reference):
    images = colors(channels=1)
    theirs = torch.stack([reference(image, 1.3) for image in images])
    torch.testing.assert_close(applied(make(np.full(4, 1.3), 1), images), theirs, rtol=0, atol=100 * FLOAT)


def test_hue_keeps_luma_and_greys_and_turns_back():
    images, shift = colors(), np.full(4, 0.13)
    luma = torch.from_numpy(LUMA)[:, None, None]
    turned = applied(hue_map(shift), images)
    torch.testing.assert_close((turned * luma).sum(1), (images * luma).sum(1), rtol=0, atol=100 * FLOAT)
    torch.testing.assert_close(applied(hue_map(shift).then(hue_map(-shift)), images), images, rtol=0, atol=100 * FLOAT)
    greys = images[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(applied(hue_map(shift), greys), greys, rtol=0, atol=100 * FLOAT)
    torch.testing.assert_close(applied(hue_map(np.ones(4)), images), images, rtol=0, atol=100 * FLOAT)


@pytest.mark.parametrize("color", [(0.6, 0.4, 0.4), (0.4, 0.6, 0.4), (0.4, 0.4, 0.6)], ids=["red", "green", "blue"])
@pytest.mark.parametrize("shift", [-0.05, 0.05])
def test_hue_turns_the_way_hsv_turns(color, shift):
    turned = applied(hue_map(np.array([shift])), torch.tensor(color).view(1, 3, 1, 1)).flatten().tolist()
    moved = colorsys.rgb_to_hsv(*turned)[0] - colorsys.rgb_to_hsv(*color)[0]
    moved = (moved + 0.5) % 1 - 0.5
    # The hexagon of HSV and the circle of YIQ divide a turn differently, by less than a factor of 2.
    assert 0.5 < moved / shift < 2


def test_composition_equals_application_in_turn():
    rng = np.random.default_rng(3)
    steps = [
        brightness_map(rng.uniform(0.9, 1.1, 4)),
        contrast_map(rng.uniform(0.8, 1.2, 4)),
        saturation_map(rng.uniform(0.8, 1.2, 4)),
        hue_map(rng.uniform(-0.05, 0.05, 4)),
    ]
    in_turn, composed = colors(), ColorMap.identity(4, 3)
    for step in steps:
        in_turn = applied(step, in_turn)
        assert in_turn.min() > 0
        assert in_turn.max() < 1
        composed = composed.then(step)
    torch.testing.assert_close(applied(composed, colors()), in_turn, rtol=0, atol=100 * FLOAT)


def test_jitters_operations_commute():
    rng = np.random.default_rng(4)
    steps = [
        brightness_map(rng.uniform(0.6, 1.4, 5)),
        contrast_map(rng.uniform(0.6, 1.4, 5)),
        saturation_map(rng.uniform(0.6, 1.4, 5)),
        hue_map(rng.uniform(-0.1, 0.1, 5)),
    ]
    for first in steps:
        for second in steps:
            one, other = first.then(second), second.then(first)
            np.testing.assert_allclose(one.pixel, other.pixel, atol=20 * FLOAT)
            np.testing.assert_allclose(one.mean, other.mean, atol=20 * FLOAT)


def test_values_are_clamped_to_the_unit_interval():
    mapped = applied(brightness_map(np.full(4, 3.0)), colors(0.0, 1.0))
    torch.testing.assert_close(mapped, (3 * colors(0.0, 1.0)).clamp(0, 1), rtol=0, atol=10 * FLOAT)


def test_jitter_without_amounts_is_the_identity():
    color_map = ColorJitter().draw(np.random.default_rng(0), 4, 3)
    torch.testing.assert_close(applied(color_map, colors()), colors(), rtol=0, atol=100 * FLOAT)


def test_jitter_draws_uniform_factors_for_the_chosen_share():
    count = 5000
    factors = ColorJitter(brightness=0.4, p=0.8).draw(np.random.default_rng(0), count, 3).pixel[:, 0, 0]
    changed = np.sort(factors[factors != 1])
    assert abs(len(changed) / count - 0.8) < 5 * math.sqrt(0.8 * 0.2 / count)
    uniform = (changed - 0.6) / 0.8
    empirical = np.arange(1, len(changed) + 1) / len(changed)
    # Kolmogorov and Smirnov: exceeded once in a million.
    assert np.abs(uniform - empirical).max() < math.sqrt(math.log(2 / 1e-6) / (2 * len(changed))) + 1 / len(changed)


def test_jitter_of_more_than_one_starts_at_zero():
    factors = ColorJitter(brightness=3.0).draw(np.random.default_rng(0), 2000, 1).pixel[:, 0, 0]
    assert factors.min() >= 0
    assert np.mean(factors == 0) == 0
    assert abs(factors.mean() - 2.0) < 5 * 4 / math.sqrt(12 * 2000)


def test_grayscale_replaces_the_chosen_share_by_luma():
    count = 4000
    drawn = RandomGrayscale(0.2).draw(np.random.default_rng(0), count, 3)
    grey = np.ptp(drawn.pixel, axis=1).max(axis=1) == 0
    assert abs(grey.mean() - 0.2) < 5 * math.sqrt(0.2 * 0.8 / count)
    always = applied(RandomGrayscale(1.0).draw(np.random.default_rng(0), 4, 3), colors())
    theirs = torchvision_functional.rgb_to_grayscale(colors(), num_output_channels=3)
    torch.testing.assert_close(always, theirs, rtol=0, atol=GREY)


def test_grayscale_and_color_leave_grey_images_alone():
    rng = np.random.default_rng(0)
    color_map = ColorJitter(saturation=0.9, hue=0.5).draw(rng, 4, 1).then(RandomGrayscale(1.0).draw(rng, 4, 1))
    torch.testing.assert_close(applied(color_map, colors(channels=1)), colors(channels=1), rtol=0, atol=10 * FLOAT)


def test_negative_jitter_is_refused():
    with pytest.raises(UserError, match="from 0 to 100 and a hue in"):
        ColorJitter(hue=0.7)
