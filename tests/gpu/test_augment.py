"""Views made on the device are those made on the CPU: random numbers are drawn on the CPU, by seed and step."""

from __future__ import annotations

import pytest
import torch

from tests.helpers.cases import composed
from vje_ppl.data.augment import ViewKey
from vje_ppl.settings.build import build_augment


@pytest.mark.parametrize(
    ("recipe", "channels", "side"), [("digits", 1, 8), ("cifar", 3, 32), ("stl", 3, 32), ("imagenet", 3, 48)]
)
def test_views_are_those_of_the_cpu(device, recipe, channels, side):
    augment = build_augment(composed("encoder=small_resnet", f"augment={recipe}"), channels, side)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (16, channels, side, side), dtype=torch.uint8, generator=generator)
    key = ViewKey(seed=1, step=2, view=0, rows=slice(0, 16), batch_size=16)
    expected, found = augment.view(images, key), augment.view(images.to(device), key)
    assert found.device.type == device.type
    # A pixel is a sum of some dozens of products of numbers below one, then divided by a standard deviation above 0.2.
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-4)


def test_views_do_not_make_the_cpu_wait(device, nothing_waits):
    augment = build_augment(composed("encoder=small_resnet", "augment=imagenet"), 3, 32)
    images = torch.zeros(16, 3, 32, 32, dtype=torch.uint8, device=device)
    keys = [ViewKey(seed=0, step=step, view=0, rows=slice(0, 16), batch_size=16) for step in range(3)]
    augment.view(images, keys[0])
    with nothing_waits():
        for key in keys[1:]:
            augment.view(images, key)
