"""Short digests of a data set's images, to detect different images under the same name."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import suppress
from math import ceil
from pathlib import PurePath
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt64

from vje_ppl.data.image_files import ImageFile, ImageFiles, StoredFile
from vje_ppl.data.image_set import ImageData, ImageSet, InMemoryImages
from vje_ppl.errors import printable

#: The parts of a data set, in words.
PARTS = {
    "train": "training images",
    "bank": "labelled images",
    "test": "test images",
    "calibration": "calibration images",
}

MOST_FILES, MOST_BYTES = 32, 1 << 16  # files read of a set, and bytes of each
MOST_PIXELS = 1 << 28  # bytes read of a set in memory, evenly spread


class NamedFiles(ImageFiles):
    """Image files inside larger files whose names and sizes are known without reading them."""

    @abstractmethod
    def keys(self) -> UInt64[np.ndarray, " N"]:
        """Return a hash of each image's name, independent of the folder of the larger file."""

    @abstractmethod
    def sizes(self) -> Int64[np.ndarray, " N"]:
        """Return bytes of each image."""


def name_keys(names: Iterable[str]) -> UInt64[np.ndarray, " N"]:
    """Return a hash of each name: the same on every machine."""
    hashed = b"".join(hashlib.blake2b(os.fsencode(name), digest_size=8).digest() for name in names)
    return np.frombuffer(hashed, dtype="<u8").astype(np.uint64)


def image_keys(images: ImageSet) -> UInt64[np.ndarray, " N"] | None:
    """Return a hash of each image's name; None for images without names, such as those of one array.

    If the names below the data set's folder are not known, the name of a file and of its folder are used, which stay
    the same when the data set moves.
    """
    if images.keys is not None or images.files is None:
        return images.keys
    if isinstance(images.files, NamedFiles):
        return images.files.keys()
    return name_keys("/".join(PurePath(str(file)).parts[-2:]) for file in images.files)


def fingerprint(data: ImageData) -> dict[str, str]:
    """Return a digest of each part of a data set: `train` and, if present, `bank`, `test` and `calibration`."""
    parts = {"train": data.train, "bank": None if data.bank is data.train else data.bank, "test": data.test}
    parts |= {"calibration": data.calibration}
    return {name: digest(images) for name, images in parts.items() if images is not None}


def digest(images: ImageSet) -> str:
    """Return the number of images and a digest that is independent of their folder: `180-3f2a...`.

    For files, it covers names below the data set's folder, sizes and labels in order, and the beginnings of a few,
    evenly spread, because uncompressed images of one shape have one size. For images without files, it covers labels
    and pixels, up to 256 MB evenly spread.
    """
    found = hashlib.sha256(b"labels" if images.labels is None else images.labels.numpy().astype("<i8").tobytes())
    keys = image_keys(images)
    if keys is not None and images.files is not None:
        found.update(keys.astype("<u8").tobytes())
        found.update(_sizes(images.files).astype("<i8").tobytes())
        for place in np.linspace(0, len(images) - 1, min(len(images), MOST_FILES), dtype=np.int64):
            found.update(_beginning(images.files[int(place)]))
    elif isinstance(images, InMemoryImages):
        found.update(repr(tuple(images.images.shape)).encode())
        step = ceil(max(1, images.images.nbytes) / MOST_PIXELS)
        found.update(np.ascontiguousarray(images.images[::step].numpy()))
    return f"{len(images)}-{found.hexdigest()[:16]}"


def differences(saved: object, now: Mapping[str, str], place: object, place_now: object) -> list[str]:
    """Return how the parts of a data set differ from a saved fingerprint, a line each.

    Args:
        saved: the earlier `fingerprint`; any other value, such as None, gives no differences.
        now: the present fingerprint.
        place: the earlier folder of the images, or None.
        place_now: the present folder.
    """
    if not isinstance(saved, Mapping):
        return []
    lines = []
    for part, words in PARTS.items():
        if saved.get(part) != now.get(part):
            was, is_now = (_count(side.get(part)) for side in (saved, now))
            lines.append(f"{words}: {was}{_in(place)} -> {is_now}{' others' * (is_now == was)}{_in(place_now)}")
    return lines


def data_root(config: Mapping[str, Any]) -> object:
    """Return the folder of the images in a configuration; None if it names none."""
    data = config.get("data")
    return data.get("root") if isinstance(data, Mapping) else None


def _count(value: object) -> str:
    count = str(value).partition("-")[0]
    return count if count.isdecimal() and len(count) < 16 else "none"


def _in(place: object) -> str:
    return "" if place is None else f" in {printable(str(place))}"


def _sizes(files: ImageFiles) -> Int64[np.ndarray, " N"]:
    return files.sizes() if isinstance(files, NamedFiles) else np.array([_size(file) for file in files], np.int64)


def _size(file: ImageFile) -> int:
    if isinstance(file, StoredFile):
        return 0
    with suppress(OSError):  # reading the file will report the error
        return os.stat(file).st_size
    return -1


def _beginning(file: ImageFile) -> bytes:
    with suppress(OSError):
        if isinstance(file, StoredFile):
            return file.read()[:MOST_BYTES]
        with open(file, "rb") as opened:
            return opened.read(MOST_BYTES)
    return b""
