"""Finds image files in folders: all of one folder, or a folder per class."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt64

from vje_ppl.data.fingerprint import NamedFiles, name_keys
from vje_ppl.data.image_files import ImageFiles
from vje_ppl.errors import UserError

EXTENSIONS = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"},
)


@dataclass(frozen=True, eq=False)
class FoundImages:
    """Image files, in the order of their names.

    Attributes:
        paths: the files, N of them, by their paths or wherever else they lie.
        labels: class indices, [N], or None where the files lie in one folder.
        classes: names of the class folders, sorted, or None.
        root: the folder in which they were looked for, where they have paths.
        held_out: whether they are a share of the training images.
    """

    paths: list[str] | ImageFiles
    labels: Int64[np.ndarray, " N"] | None
    classes: tuple[str, ...] | None
    root: str = ""
    held_out: bool = False

    @cached_property
    def keys(self) -> UInt64[np.ndarray, " N"]:
        """A hash of each file's name below `root`, so that it stays the same when all of them move."""
        if isinstance(self.paths, NamedFiles):
            return self.paths.keys()
        return name_keys(str(path).removeprefix(f"{self.root}{os.sep}") for path in self.paths)

    @property
    def only_folder(self) -> str | None:
        """The name of the one subfolder that all of them lie in; None where they lie in none, or in several."""
        if self.classes is not None or isinstance(self.paths, ImageFiles):
            return None
        folder, inside, _ = self.paths[0].removeprefix(f"{self.root}{os.sep}").partition(os.sep)
        return folder if inside else None

    def select(self, indices: Int64[np.ndarray, " M"]) -> FoundImages:
        """Returns the files at `indices`, in that order."""
        labels = None if self.labels is None else self.labels[indices]
        paths = self.paths
        chosen = paths.select(indices) if isinstance(paths, ImageFiles) else [paths[index] for index in indices]
        return replace(self, paths=chosen, labels=labels)


def find_images(folder: Path) -> FoundImages:
    """Finds the images of a folder.

    Images right in the folder are unlabelled. Otherwise each subfolder with images in it, at any depth, is a class; a
    single such subfolder is no labelling. Hidden files and folders do not count.

    Raises:
        UserError: if there is no image, or if images lie both in the folder and in its subfolders.
    """
    here, folders = _list(folder)
    found = {child.name: images for child in folders if (images := _walk(child))}
    if here and found:
        raise UserError(
            f"{folder} holds images of its own and in its subfolder {next(iter(found))}; put every image in a "
            "subfolder named after its class, or all images in one folder."
        )
    if here:
        return FoundImages(here, None, None, str(folder))
    if not found:
        raise UserError(
            f"no image was found in {folder}; expected files ending in {', '.join(sorted(EXTENSIONS))}, in it or in "
            "one subfolder per class."
        )
    paths = [path for images in found.values() for path in images]
    if len(found) == 1:
        return FoundImages(paths, None, None, str(folder))
    labels = np.repeat(np.arange(len(found)), [len(images) for images in found.values()])
    return FoundImages(paths, labels, tuple(found), str(folder))


def folders_with_images(folder: Path) -> list[Path]:
    """The subfolders of a folder that hold an image at any depth, sorted by name."""
    return [child for child in _list(folder)[1] if _holds_images(child)]


def images_in(folder: Path) -> list[str]:
    """The images that lie right in a folder, sorted by name."""
    return _list(folder)[0]


def _holds_images(folder: Path) -> bool:
    images, folders = _list(folder)
    return bool(images) or any(map(_holds_images, folders))


def _walk(folder: Path) -> list[str]:
    images, folders = _list(folder)
    for child in folders:
        images += _walk(child)
    return images


def _list(folder: Path) -> tuple[list[str], list[Path]]:
    """Images and subfolders of a folder, each sorted by name."""
    images, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith((".", "__MACOSX")):
                    continue
                if entry.is_dir():
                    folders.append(Path(entry.path))
                elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
                    images.append(entry.path)
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read: {error.strerror}.") from error
    return sorted(images), sorted(folders)
