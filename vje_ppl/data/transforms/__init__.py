"""The transforms of which random views are composed, one per file.

Read in this order:

    interfaces.py     the three kinds of transforms, in the order in which they act: boxes, colours, filters
    random_resized_crop.py, flip.py    boxes; resample.py cuts and resizes them
    color_jitter.py, grayscale.py      colours; color_map.py composes them into one affine map per image
    affine.py, blur.py, noise.py       filters
"""

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
