"""Data sets in the IDX format of MNIST: grey images in two pairs of files."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from vje_ppl.data.image_set import ImageData, InMemoryImages
from vje_ppl.data.loaders.download import read_or_download
from vje_ppl.data.selection import ClassChoice, fixed_subset, select_class
from vje_ppl.errors import UserError

_PARTS = ("images-idx3-ubyte", "labels-idx1-ubyte")


def load_idx(
    name: str, dataset: Any, root: str, download: bool, subset: int | None, only_class: ClassChoice
) -> ImageData:
    """Load MNIST or a data set of its form.

    Args:
        name: the data set's name.
        dataset: its class in torchvision, which downloads it.
        root: the folder that holds torchvision's `<class>/raw`, or the four files themselves.
        download: whether to download it first.
        subset: number of training images to keep; None: all.
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.
    """
    lies_in_root = all(_find(Path(root), f"{split}-{part}") for split in ("train", "t10k") for part in _PARTS)
    folder = "." if lies_in_root and not download else f"{dataset.__name__}/raw"

    def read(download: bool) -> tuple[InMemoryImages, InMemoryImages]:
        if download:
            dataset(root, download=True)
        classes = tuple(dataset.classes)
        return _read_split(Path(root) / folder, "train", classes), _read_split(Path(root) / folder, "t10k", classes)

    train, test = read_or_download(read, name=name, root=Path(root), folder=folder, download=download)
    train = fixed_subset(train, subset)
    return ImageData(name, select_class(train, only_class), train, test, 1, 28, len(dataset.classes))


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _read_split(folder: Path, split: str, classes: tuple[str, ...]) -> InMemoryImages:
    arrays = []
    for part in _PARTS:
        path = _find(folder, f"{split}-{part}")
        if path is None:
            raise FileNotFoundError(f"{split}-{part} is missing")
        arrays.append(read_idx(path))
    images, labels = arrays
    if images.ndim != 3 or labels.ndim != 1:
        raise ValueError(f"images and labels of {split} have {images.ndim} and {labels.ndim} dimensions, not 3 and 1")
    if labels.max(initial=0) >= len(classes):
        raise ValueError(f"{split} has the label {labels.max()}, and there are {len(classes)} classes")
    return InMemoryImages(torch.from_numpy(images[:, None]), torch.from_numpy(labels.astype(np.int64)), classes)


_UNSIGNED_BYTES = 0x08


def read_idx(path: Path) -> UInt8[np.ndarray, " ..."]:
    """Read an array of bytes.

    Args:
        path: the file; a name that ends in `.gz` is decompressed.

    Raises:
        UserError: if the file is not an IDX file of bytes, or is truncated.

    Source: the format's description at the end of http://yann.lecun.com/exdb/mnist/: two zero bytes, the type, the
    number of dimensions, the dimensions as big-endian 32-bit integers, the data.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"the file {path} cannot be read ({error}); delete it and download it again.") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTES]):
        raise UserError(f"the file {path} is not an IDX file of bytes; delete it and download it again.")
    start = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:start], dtype=">u4").astype(np.int64)
    if len(content) != start + shape.prod():
        raise UserError(
            f"the file {path} should hold {start + shape.prod()} bytes and holds {len(content)}; delete it and "
            "download it again."
        )
    return np.frombuffer(bytearray(content), dtype=np.uint8, offset=start).reshape(shape)
