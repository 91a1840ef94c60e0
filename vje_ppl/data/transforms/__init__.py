"""Transforms that random views are composed of."""

from vje_ppl.data.transforms.affine import RandomAffine
from vje_ppl.data.transforms.blur import GaussianBlur
from vje_ppl.data.transforms.color_jitter import ColorJitter
from vje_ppl.data.transforms.flip import HorizontalFlip, VerticalFlip
from vje_ppl.data.transforms.grayscale import RandomGrayscale
from vje_ppl.data.transforms.interfaces import BoxTransform, ColorTransform, Filter
from vje_ppl.data.transforms.noise import GaussianNoise
from vje_ppl.data.transforms.random_resized_crop import RandomResizedCrop

__all__ = [
    "BoxTransform",
    "ColorJitter",
    "ColorTransform",
    "Filter",
    "GaussianBlur",
    "GaussianNoise",
    "HorizontalFlip",
    "RandomAffine",
    "RandomGrayscale",
    "RandomResizedCrop",
    "VerticalFlip",
]
