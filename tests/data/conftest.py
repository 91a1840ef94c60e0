"""Image files and recipes that several tests use."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vje_ppl.data import Augment
from vje_ppl.data.transforms import ColorJitter, GaussianBlur, HorizontalFlip, RandomGrayscale, RandomResizedCrop


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """Writes a smooth random image of a given size and returns its path."""

    def write(path: Path, height: int = 32, width: int = 32, seed: int = 0, mode: str = "RGB") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        smooth.convert(mode).save(path)
        return path

    return write


@pytest.fixture
def make_recipe() -> Callable[..., Augment]:
    """Makes SimCLR's recipe, with keyword arguments to change it."""

    def make(**changes: object) -> Augment:
        arguments: dict = {
            "geometry": {"crop": RandomResizedCrop((0.2, 1.0)), "flip": HorizontalFlip()},
            "color": {"jitter": ColorJitter(0.4, 0.4, 0.4, 0.1, 0.8), "grayscale": RandomGrayscale()},
            "filters": {"blur": GaussianBlur((0.1, 1.0))},
            "mean": [0.5],
            "std": [0.25],
            "channels": 3,
            "image_size": 32,
        }
        return Augment(**(arguments | changes))

    return make


@pytest.fixture
def write_idx() -> Callable[..., dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Writes the four IDX files of MNIST in a folder, with random images."""

    def write(folder: Path, compressed: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        folder.mkdir(parents=True, exist_ok=True)
        rng, arrays = np.random.default_rng(0), {}
        for split, count in (("train", 9), ("t10k", 4)):
            images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            labels = rng.integers(0, 10, count, dtype=np.uint8)
            arrays[split] = images, labels
            for name, array in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
                content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
                if compressed:
                    (folder / f"{name}.gz").write_bytes(gzip.compress(content))
                else:
                    (folder / name).write_bytes(content)
        return arrays

    return write
