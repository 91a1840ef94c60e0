"""Every baseline with narrow heads, so that its tests take no time."""

from __future__ import annotations

from functools import cache

import torch
from omegaconf import DictConfig
from torch import Tensor

from tests.helpers.cases import composed
from vje_ppl.methods.baseline import Baseline
from vje_ppl.settings.build import build_method

#: Methods whose loss, which is lightly's, takes the entries beside a diagonal by a mask, so that a GPU is waited for.
LOSS_WAITS = {"vicreg", "simclr"}

#: Overrides beside `method=...`, by method.
NARROW = {
    "simsiam": ("method.projector=[12,10]", "method.predictor=6"),
    "vicreg": ("method.projector=[12,10]",),
    "barlow_twins": ("method.projector=[12,10]",),
    "byol": ("method.projector=[14,10]", "method.predictor=6"),
    "vi_simsiam": ("method.projector=[12,10]", "method.predictor=6"),
    "simclr": ("method.projector=[12,10]",),
    "lejepa": ("method.projector=[12,10]", "method.directions=16"),
    "visreg": ("method.projector=[12,10]", "method.directions=16"),
}
METHODS = tuple(NARROW)
#: Methods that compare the images of a batch.
BETWEEN_IMAGES = ("vicreg", "barlow_twins", "simclr", "lejepa", "visreg")
#: Methods whose loss is on all views together.
OF_ALL_VIEWS = ("lejepa", "visreg")
ENCODER = ("encoder=mlp", "encoder.width=9", "encoder.depth=1", "encoder.dim=7")
CHANNELS, IMAGE_SIZE = 1, 4


@cache
def configured(method: str, *overrides: str) -> DictConfig:
    """The configuration of a method."""
    return composed(f"method={method}", *NARROW[method], *ENCODER, *overrides)


def built(method: str, *overrides: str, seed: int = 0) -> Baseline:
    """A method in float32, in training mode."""
    torch.manual_seed(seed)
    module = build_method(configured(method, *overrides), CHANNELS, IMAGE_SIZE, trust_targets=False)
    assert isinstance(module, Baseline)
    return module


def views(count: int = 2, images: int = 8, seed: int = 3) -> list[Tensor]:
    """Views of images, in float32."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(images, CHANNELS, IMAGE_SIZE, IMAGE_SIZE, generator=generator) for _ in range(count)]


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
