"""The places of image files: in folders, or inside larger files with random access."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64


class StoredFile(ABC):
    """An image file inside a larger file; its text is its name in messages."""

    @abstractmethod
    def read(self) -> bytes:
        """Return the whole file.

        Raises:
            OSError: if it cannot be read.
        """


#: A path, or a file inside another.
type ImageFile = str | StoredFile


class ImageFiles(ABC):
    """N image files with random access in any process, so that any order and resuming are possible."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> ImageFile: ...

    @abstractmethod
    def select(self, indices: Int64[np.ndarray, " M"]) -> ImageFiles:
        """Return the files at `indices`, in that order."""

    def __iter__(self) -> Iterator[ImageFile]:
        return (self[index] for index in range(len(self)))


class FileNames(ImageFiles):
    """Files by their paths.

    Args:
        paths: N of them.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        # One block of bytes: a list of a million strings would be copied page by page into every forked worker,
        # because reading a Python object writes its reference count.
        self._names = np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> str:
        return os.fsdecode(self._names[index])

    def select(self, indices: Int64[np.ndarray, " M"]) -> FileNames:
        """Return the files at `indices`, in that order."""
        chosen = FileNames([])
        chosen._names = self._names[indices]
        return chosen
