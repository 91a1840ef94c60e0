"""What images a data set holds, in a few characters, so that other images under the same name are noticed."""

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
PARTS = {"train": "training images", "bank": "labelled images", "test": "test images"}

MOST_FILES, MOST_BYTES = 32, 1 << 16  # that are read of a set of files, and of each of them
MOST_PIXELS = 1 << 28  # bytes that are read of a set in memory, evenly spread


class NamedFiles(ImageFiles):
    """Image files inside larger ones that know their names and sizes without being read."""

    @abstractmethod
    def keys(self) -> UInt64[np.ndarray, " N"]:
        """A hash of each one's name, wherever the larger file lies."""

    @abstractmethod
    def sizes(self) -> Int64[np.ndarray, " N"]:
        """Bytes of each of them."""


def name_keys(names: Iterable[str]) -> UInt64[np.ndarray, " N"]:
    """A hash of each name: the same on every machine."""
    hashed = b"".join(hashlib.blake2b(os.fsencode(name), digest_size=8).digest() for name in names)
    return np.frombuffer(hashed, dtype="<u8").astype(np.uint64)


def image_keys(images: ImageSet) -> UInt64[np.ndarray, " N"] | None:
    """A hash of each image's name; None for images without names, as those that came in one array.

    Where nobody has said what the files are called below their data set's folder, they go by their own name and that of
    their folder, which a move leaves as they are.
    """
    if images.keys is not None or images.files is None:
        return images.keys
    if isinstance(images.files, NamedFiles):
        return images.files.keys()
    return name_keys("/".join(PurePath(str(file)).parts[-2:]) for file in images.files)


def fingerprint(data: ImageData) -> dict[str, str]:
    """What each part of a data set is: `train`, and `bank` and `test` where it has them."""
    parts = {"train": data.train, "bank": None if data.bank is data.train else data.bank, "test": data.test}
    return {name: digest(images) for name, images in parts.items() if images is not None}


def digest(images: ImageSet) -> str:
    """How many images these are, and a digest that tells them from others, wherever they lie: `180-3f2a...`.

    Of files: their names below the folder of the data set, their sizes and labels, in order, and the beginnings of a
    few of them, evenly spread, because uncompressed images of one shape are of one size. Of images without files: their
    pixels, up to 256 MB evenly spread, and labels.
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
    """How the parts of a data set differ from what was saved, a line each.

    Args:
        saved: the earlier `fingerprint`; anything else, such as None, differs in nothing.
        now: the present one.
        place: where the images lay, or None.
        place_now: where they lie.
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
    """Where a configuration says that its images lie; None if it does not."""
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
    with suppress(OSError):  # reading it will say what is wrong with it
        return os.stat(file).st_size
    return -1


def _beginning(file: ImageFile) -> bytes:
    with suppress(OSError):
        if isinstance(file, StoredFile):
            return file.read()[:MOST_BYTES]
        with open(file, "rb") as opened:
            return opened.read(MOST_BYTES)
    return b""
