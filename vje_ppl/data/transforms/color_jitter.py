"""Random brightness, contrast, saturation and hue."""

from __future__ import annotations

import numpy as np

from vje_ppl.data.transforms.color_map import LUMA, ColorMap
from vje_ppl.data.transforms.interfaces import ColorTransform, probability
from vje_ppl.errors import UserError

_TO_YIQ = np.array([LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)
_HUE_SIGN = -1.0  # a positive shift turns red towards yellow, as in HSV


class ColorJitter(ColorTransform):
    """Changes brightness, contrast, saturation and hue by random amounts.

    Factors are uniform in [1 − x, 1 + x] (from 0 where x > 1), the hue's shift is uniform in [−hue, hue] turns.
    Images with one channel have no colour: brightness and contrast alone act on them.

    Two deviations from torchvision's `ColorJitter` make the four one affine map (ours). Values are clamped once, at
    the end, not after each. Hue is a rotation of the chrominance plane in YIQ, not a shift in HSV: it keeps luma
    instead of value. In YIQ all four are scalings and rotations of luma and chrominance, which commute, so there is no
    random order to draw.

    Args:
        brightness: largest relative change, non-negative.
        contrast: largest relative change, towards or from the image's mean grey.
        saturation: largest relative change, towards or from each pixel's grey.
        hue: largest shift in turns of the colour circle, in [0, 0.5].
        p: probability that an image is changed at all.
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        p: float = 1.0,
    ) -> None:
        if not all(0 <= one <= 100 for one in (brightness, contrast, saturation)) or not 0 <= hue <= 0.5:
            raise UserError(
                "colour jitter needs brightness, contrast and saturation from 0 to 100 and a hue in [0, 0.5], "
                f"got {brightness}, {contrast}, {saturation} and {hue}."
            )
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.p = probability(p)

    def draw(self, rng: np.random.Generator, count: int, channels: int) -> ColorMap:
        """Draw one composed map for each of `count` images."""
        brightness, contrast, saturation = (
            rng.uniform(max(0, 1 - amount), 1 + amount, count)
            for amount in (self.brightness, self.contrast, self.saturation)
        )
        shift = rng.uniform(-self.hue, self.hue, count)
        chosen = rng.random(count) < self.p
        composed = brightness_map(brightness, channels).then(contrast_map(contrast, channels))
        if channels == 3:
            composed = composed.then(saturation_map(saturation)).then(hue_map(shift))
        return composed.where(chosen)


def brightness_map(factor: np.ndarray, channels: int = 3) -> ColorMap:
    """Return the map x ↦ f x, for factors [N]."""
    return _same(factor[:, None, None] * np.eye(channels))


def contrast_map(factor: np.ndarray, channels: int = 3) -> ColorMap:
    """Return the map x ↦ f x + (1 − f) g with the mean grey g of the image, for factors [N]."""
    scaled = factor[:, None, None] * np.eye(channels)
    towards_grey = (1 - factor[:, None, None]) * _grey(channels)
    return ColorMap(scaled.astype(np.float32), (scaled + towards_grey).astype(np.float32))


def saturation_map(factor: np.ndarray) -> ColorMap:
    """Return the map x ↦ f x + (1 − f) g(x) with the pixel's grey g(x), for factors [N]."""
    return _same(factor[:, None, None] * np.eye(3) + (1 - factor[:, None, None]) * _grey(3))


def hue_map(shift: np.ndarray) -> ColorMap:
    """Return a rotation of the chrominance plane of YIQ, for shifts [N] in turns."""
    angle = _HUE_SIGN * 2 * np.pi * shift
    turn = np.zeros((len(shift), 3, 3))
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 1, 2], turn[:, 2, 1] = -np.sin(angle), np.sin(angle)
    return _same(_FROM_YIQ @ turn @ _TO_YIQ)


def _grey(channels: int) -> np.ndarray:
    return np.tile(LUMA, (3, 1)) if channels == 3 else np.ones((1, 1))


def _same(matrices: np.ndarray) -> ColorMap:
    single = matrices.astype(np.float32)
    return ColorMap(single, single)
