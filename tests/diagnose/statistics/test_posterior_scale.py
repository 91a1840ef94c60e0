from __future__ import annotations

import math

import pyro.distributions as dist
import torch

from vje_ppl.data.preprocess import Normalize
from vje_ppl.diagnose.statistics.corruptions import PixelNoise
from vje_ppl.diagnose.statistics.posterior_scale import (
    mean_log_scale,
    pixels_of,
    scale_of_images,
    scale_under_corruption,
)
from vje_ppl.guides.diagonal_normal import DiagonalNormalPosterior


def posterior_of(images):
    """Scales that follow an image's spread."""
    spread = images.flatten(1).std(1, keepdim=True)
    return DiagonalNormalPosterior(torch.zeros(len(images), 3), spread * torch.tensor([0.5, 1.0, 2.0]))


def test_mean_log_scale_is_the_entropy_per_feature_up_to_a_constant():
    posterior = DiagonalNormalPosterior(torch.zeros(5, 4), torch.rand(5, 4, dtype=torch.float64).float() + 0.1)

    entropy = dist.Normal(posterior.mean, posterior.scale).to_event(1).entropy().double()

    expected = entropy / 4 - 0.5 * math.log(2 * math.pi * math.e)
    torch.testing.assert_close(mean_log_scale(posterior), expected, atol=1e-6, rtol=0)


def test_pixels_of_undoes_the_normalization():
    normalize = Normalize([0.2, 0.5, 0.7], [0.3, 0.1, 0.9], 3)
    pixels = torch.rand(4, 3, 5, 5)

    torch.testing.assert_close(pixels_of(normalize(pixels.clone()), normalize), pixels, atol=1e-6, rtol=0)


def test_scale_under_corruption_is_that_of_the_corrupted_images_level_by_level():
    normalize, corruption = Normalize([0.4], [0.2], 1), PixelNoise([0.1, 0.3])
    pixels = torch.rand(10, 1, 6, 6)
    index = torch.arange(10)
    prepared = normalize(pixels.clone())
    batches = [(index[:7], prepared[:7]), (index[7:], prepared[7:])]

    found = scale_under_corruption(posterior_of, batches, normalize, corruption, 5)

    expected = [mean_log_scale(posterior_of(prepared))]
    for severity in (0.1, 0.3):
        expected.append(mean_log_scale(posterior_of(normalize(corruption(pixels, severity, 5, index)))))
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=0)
    assert torch.equal(found[0], scale_of_images(posterior_of, batches))
