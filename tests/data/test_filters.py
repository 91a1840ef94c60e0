import math

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as torchvision_functional
from torchvision.transforms.functional import InterpolationMode

from vje_ppl.data.transforms import GaussianBlur, GaussianNoise, RandomAffine
from vje_ppl.data.transforms.blur import in_groups, tap_by_tap
from vje_ppl.errors import UserError

FLOAT = torch.finfo(torch.float32).eps


def images(count=3, channels=3, side=16):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("side", [5, 16], ids=["smaller than the kernel", "larger than the kernel"])
def test_blur_equals_torchvisions(sigma, side):
    blur = GaussianBlur((0.1, 2.0), p=1.0)
    reach = min(6, side - 1)
    ours = blur.apply(images(side=side), np.full(3, sigma, dtype=np.float32))
    theirs = torchvision_functional.gaussian_blur(images(side=side), [2 * reach + 1] * 2, [sigma, sigma])
    # Two passes over at most 13 weights and values of at most 1.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2 * 13 * 4 * FLOAT)


@pytest.mark.parametrize("sigma", [0.1, 0.45, 1.0, 2.0])
def test_blur_is_the_same_tap_by_tap_and_in_groups(sigma):
    kernel = np.exp(-0.5 * (np.arange(-6, 7, dtype=np.float32) / sigma) ** 2)
    kernel /= kernel.sum()
    in_one_go = in_groups(images(), torch.from_numpy(np.stack([kernel] * 3)))
    for image, expected in zip(images(), in_one_go, strict=True):
        # Sums of 13 products of numbers up to 1, in float32, twice.
        torch.testing.assert_close(tap_by_tap(image, kernel), expected, rtol=0, atol=26 * 6e-8)


def test_blur_leaves_unchosen_images_untouched():
    blurred = GaussianBlur().apply(images(), np.array([0.0, 1.0, 0.0], dtype=np.float32))
    assert torch.equal(blurred[0], images()[0])
    assert torch.equal(blurred[2], images()[2])
    assert not torch.allclose(blurred[1], images()[1], atol=1e-3)


def test_blur_draws_its_share_and_range():
    sigma = GaussianBlur((0.5, 1.5), p=0.3).draw(np.random.default_rng(0), (4000, 3, 8, 8))
    chosen = sigma[sigma > 0]
    assert abs(len(chosen) / 4000 - 0.3) < 5 * math.sqrt(0.3 * 0.7 / 4000)
    assert chosen.min() >= 0.5
    assert chosen.max() <= 1.5
    assert abs(chosen.mean() - 1.0) < 5 / math.sqrt(12 * len(chosen))


def test_affine_without_amounts_returns_the_image():
    affine = RandomAffine()
    same = affine.apply(images(), affine.draw(np.random.default_rng(0), (3, 3, 16, 16)))
    # The grid's coordinates are exact to an ulp of 1, which is 8 pixels here.
    torch.testing.assert_close(same, images(), rtol=0, atol=4 * 8 * FLOAT)


@pytest.mark.parametrize(
    ("degrees", "shift", "magnification"),
    [(90.0, (0, 0), 1.0), (0.0, (3, -2), 1.0), (0.0, (0, 0), 0.5), (30.0, (1, 2), 1.2)],
    ids=["quarter turn", "shift", "half size", "all three"],
)
def test_affine_equals_torchvisions(degrees, shift, magnification):
    class Fixed(np.random.Generator):
        """Gives the upper end of each interval, and the wanted shift."""

        def uniform(self, low, high, size):
            if isinstance(size, tuple):
                return np.tile(np.array(shift) / 16, (3, 1))
            return np.full(size, high)

    affine = RandomAffine(degrees, 1.0, (magnification, magnification))
    ours = affine.apply(images(), affine.draw(Fixed(np.random.PCG64(0)), (3, 3, 16, 16)))
    theirs = torchvision_functional.affine(
        images(), degrees, list(shift), magnification, [0.0, 0.0], InterpolationMode.BILINEAR
    )
    # Coordinates of up to 16 pixels, a dozen roundings in each, four weights.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=12 * 16 * 4 * FLOAT)


def test_affine_draws_its_ranges():
    draws = RandomAffine(20.0, 0.1, (0.8, 1.25)).draw(np.random.default_rng(0), (4000, 1, 8, 8))
    magnification = 1 / np.sqrt(np.linalg.det(draws[:, :, :2]))
    angle = np.rad2deg(np.arctan2(draws[:, 0, 1], draws[:, 0, 0]))
    shift = -np.linalg.solve(draws[:, :, :2], draws[:, :, 2:])[..., 0] / 2
    for values, low, high in ((magnification, 0.8, 1.25), (angle, -20, 20), (shift, -0.1, 0.1)):
        span = high - low
        # 4000 uniform values come this close to either end but once in e^10 times.
        assert low - 1e-4 * span <= values.min() < low + 10 / 4000 * 1.5 * span
        assert high - 10 / 4000 * 1.5 * span < values.max() <= high + 1e-4 * span


def test_noise_has_its_standard_deviation_and_is_clamped():
    noise = GaussianNoise(0.05)
    draws = noise.draw(np.random.default_rng(0), (50, 1, 20, 20))
    assert abs(draws.std() - 0.05) < 5 * 0.05 / math.sqrt(2 * draws.size)
    noisy = noise.apply(torch.full((50, 1, 20, 20), 0.5), draws)
    torch.testing.assert_close(noisy, torch.from_numpy(0.5 + draws), rtol=0, atol=FLOAT)
    assert noise.apply(torch.ones(50, 1, 20, 20), draws).max() == 1
    assert noise.apply(torch.zeros(50, 1, 20, 20), draws).min() == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: GaussianBlur((0.0, 1.0)), "sigma must satisfy", id="sigma"),
        pytest.param(lambda: GaussianBlur(p=-0.1), "between 0 and 1, got -0.1", id="probability"),
        pytest.param(lambda: RandomAffine(degrees=float("inf")), "degrees in", id="degrees"),
        pytest.param(lambda: RandomAffine(translate=-1), "translate in", id="translate"),
        pytest.param(lambda: GaussianNoise(1e30), "noise's std must be", id="noise"),
        pytest.param(lambda: RandomAffine(scale=(0.0, 1.0)), "scale must satisfy", id="scale"),
        pytest.param(lambda: GaussianNoise(-1.0), "at least 0, got -1.0", id="noise"),
    ],
)
def test_impossible_options_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
