from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from vje_ppl.diagnose.statistics.corruptions import Blur, Occlusion, PixelNoise
from vje_ppl.errors import UserError

BLURS, SQUARES = (0.05, 0.1, 0.15, 0.2, 0.3), (0.25, 0.375, 0.5, 0.625, 0.75)
NOISE = PixelNoise((0.05, 0.1, 0.2, 0.4, 0.8))
KINDS = {"noise": NOISE, "blur": Blur(BLURS), "occlusion": Occlusion(SQUARES, mean=[0.3])}
every_kind = pytest.mark.parametrize("corruption", KINDS.values(), ids=KINDS)


def images(count=40, channels=1, side=16):
    """Smooth patterns in [0, 1] with detail at several sizes."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, channels, side // 4, side // 4, generator=generator)
    fine = torch.rand(count, channels, side, side, generator=generator)
    return 0.7 * torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear") + 0.3 * fine


@every_kind
def test_corruption_moves_every_image_further_with_every_severity(corruption):
    clean = images()
    index = torch.arange(len(clean))

    distances = [
        (corruption(clean, severity, 0, index) - clean).square().sum((1, 2, 3)) for severity in corruption.severities
    ]

    assert (distances[0] > 0).all()
    for low, high in pairwise(distances):
        assert (high > low).all()


@every_kind
def test_corruption_belongs_to_seed_and_image_whatever_the_batch(corruption):
    clean, severity = images(), corruption.severities[2]
    index = torch.arange(100, 140)
    together = corruption(clean, severity, 7, index)
    chosen = torch.tensor([31, 4, 17])

    # Two batches of a convolution may sum in another order: 16 × 16 products below 1
    torch.testing.assert_close(
        corruption(clean[chosen], severity, 7, index[chosen]), together[chosen], atol=1e-6, rtol=0
    )
    assert torch.equal(corruption(clean, severity, 7, index), together)
    if not isinstance(corruption, Blur):
        assert not torch.equal(corruption(clean, severity, 8, index), together)
        assert not torch.equal(corruption(clean, severity, 7, index + 1), together)


@every_kind
def test_corruption_leaves_its_input_and_the_global_generators_alone(corruption):
    clean = images()
    before, state, numbers = clean.clone(), torch.get_rng_state(), np.random.get_state()[1].copy()

    worse = corruption(clean, corruption.severities[-1], 0, torch.arange(len(clean)))

    assert torch.equal(clean, before)
    assert worse.shape == clean.shape
    assert ((worse >= 0) & (worse <= 1)).all()
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numbers).all()


@pytest.mark.parametrize("side", [8, 32], ids=lambda side: f"{side} pixels")
@pytest.mark.parametrize("severity", BLURS)
def test_blur_equals_scipy_at_the_share_of_the_side(severity, side):
    clean = images(3, 3, side)
    sigma = severity * side
    radius = min(int(np.ceil(3 * np.float32(sigma))), side - 1)
    expected = clean.double().numpy()
    for axis in (2, 3):
        expected = gaussian_filter1d(expected, sigma, axis, mode="mirror", radius=radius)

    found = Blur(BLURS)(clean, severity, 0, torch.arange(3))

    # Two sums of at most 63 products in float32, of weights that sum to one and values below one
    np.testing.assert_allclose(found.numpy(), expected, atol=2 * 63 * 2**-24, rtol=0)


def test_noise_has_its_standard_deviation_where_nothing_is_clamped():
    grey = torch.full((50, 1, 32, 32), 0.5)

    noise = NOISE(grey, 0.05, 0, torch.arange(50)) - 0.5

    count = noise.numel()
    assert abs(float(noise.std()) / 0.05 - 1) < 4 / (2 * count) ** 0.5  # four standard errors
    assert abs(float(noise.mean())) < 4 * 0.05 / count**0.5


@pytest.mark.parametrize("severity", [0.01, 0.25, 0.4, 1.0])
def test_occlusion_covers_one_square_of_its_side_and_nothing_else(severity):
    clean = images(30, 3)
    covered = max(1, round(severity * 16))

    worse = Occlusion(SQUARES, mean=[0.1, 0.2, 1.5])(clean, severity, 0, torch.arange(30))  # a blue that no image has

    hidden = worse[:, 2] == 1.5
    assert (hidden.sum((1, 2)) == covered**2).all()
    assert (hidden.any(1).sum(1) == covered).all()
    assert (hidden.any(2).sum(1) == covered).all()
    assert (worse[:, 0][hidden] == np.float32(0.1)).all()
    shown = ~hidden[:, None].expand_as(clean)
    assert torch.equal(worse[shown], clean[shown])
    if covered < 16:
        assert len({tuple(row.nonzero()[0].tolist()) for row in hidden}) > 1, "all at one place"


@pytest.mark.parametrize(
    ("kind", "severities", "said"),
    [
        pytest.param(PixelNoise, [], "increasing severities above 0", id="none"),
        pytest.param(PixelNoise, [0.0, 0.1], "increasing severities above 0", id="zero"),
        pytest.param(Blur, [0.2, 0.1], "increasing severities above 0", id="falling"),
        pytest.param(Blur, [0.1, float("nan")], "increasing severities above 0", id="not a number"),
        pytest.param(Occlusion, [0.5, 1.5], "at most 1, the whole image", id="more than the image"),
    ],
)
def test_corruption_refuses_severities_that_do_not_rise(kind, severities, said):
    with pytest.raises(UserError, match=said):
        kind(severities)
