"""Photographs of ImageNet's sizes, cut from the two that scikit-learn ships, so that nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

#: Width and height in pixels that many of ImageNet's photographs have, lying and upright.
SIZES = ((500, 375), (500, 375), (500, 333), (375, 500))

#: Of JPEG, at which these photographs take 92 kB each; ImageNet's take 110 kB on average.
QUALITY = 97


def photographs(count: int, seed: int = 0) -> Iterator[tuple[str, Image.Image]]:
    """Random cuts of both photographs in turn, each 80 to 100 % as high or wide as it can be, resized.

    Args:
        count: how many.
        seed: of the cuts.

    Yields:
        The name of the photograph, and the cut.
    """
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    names = [Path(str(name)).stem for name in bunch.filenames]
    rng = np.random.default_rng(seed)
    for number in range(count):
        photo = Image.fromarray(np.asarray(bunch.images[number % len(names)]))
        width, height = SIZES[number // len(names) % len(SIZES)]
        share = rng.uniform(0.8, 1.0) * min(photo.width / width, photo.height / height)
        left = rng.uniform(0, photo.width - share * width)
        top = rng.uniform(0, photo.height - share * height)
        box = (left, top, left + share * width, top + share * height)
        yield names[number % len(names)], photo.resize((width, height), Image.Resampling.LANCZOS, box=box)


def write_photographs(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Write `photographs` as JPEG files, a folder for each of the two, and return their paths."""
    paths = []
    for number, (name, photo) in enumerate(photographs(count, seed)):
        path = folder / name / f"{name}_{number:05}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo.save(path, quality=QUALITY)
        paths.append(path)
    return paths
