"""Finds image files in folders: all of one folder, or a folder per class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt64

from vje_ppl.data.fingerprint import NamedFiles, name_keys
from vje_ppl.data.formats import extensions, is_image
from vje_ppl.data.image_files import ImageFiles
from vje_ppl.data.loaders.left_out import LeftOut
from vje_ppl.errors import UserError

#: Files of operating systems, which are not reported; hidden files are not reported either.
_LITTER = frozenset({"thumbs.db", "desktop.ini"})


@dataclass(frozen=True, eq=False)
class FoundImages:
    """Image files, in the order of their names.

    Attributes:
        paths: the N files, by path or place inside another file.
        labels: class indices, [N], with −1 for a file without a label; None if no file has a label.
        classes: names of the classes, or None.
        root: the folder that was searched, if the files have paths.
    """

    paths: list[str] | ImageFiles
    labels: Int64[np.ndarray, " N"] | None
    classes: tuple[str, ...] | None
    root: str = ""

    @cached_property
    def keys(self) -> UInt64[np.ndarray, " N"]:
        """A hash of each file's name below `root`, so that it stays the same when all of them move."""
        if isinstance(self.paths, NamedFiles):
            return self.paths.keys()
        return name_keys(str(path).removeprefix(f"{self.root}{os.sep}") for path in self.paths)

    @property
    def only_folder(self) -> str | None:
        """The name of the only subfolder with files; None if there is none, or several."""
        if self.classes is not None or isinstance(self.paths, ImageFiles):
            return None
        folder, inside, _ = self.paths[0].removeprefix(f"{self.root}{os.sep}").partition(os.sep)
        return folder if inside else None

    def select(self, indices: Int64[np.ndarray, " M"]) -> FoundImages:
        """Return the files at `indices`, in that order."""
        labels = None if self.labels is None else self.labels[indices]
        paths = self.paths
        chosen = paths.select(indices) if isinstance(paths, ImageFiles) else [paths[index] for index in indices]
        return replace(self, paths=chosen, labels=labels)


def find_images(folder: Path) -> FoundImages:
    """Find the images of a folder: the files that Pillow opens on this machine (see `vje_ppl.data.formats`).

    Images right in the folder are unlabelled. Otherwise each subfolder with images in it, at any depth, is a class; a
    single such subfolder gives no labels. Hidden files and folders are ignored. Other files are left out with a
    warning.

    Raises:
        UserError: if there is no image, if images lie both in the folder and in its subfolders, or if a subfolder
            beside images holds nothing but files that cannot be read.
    """
    left_out = LeftOut()
    here, folders = _list(folder, left_out)
    found: dict[str, list[str]] = {}
    lost: dict[Path, LeftOut] = {}
    for child in folders:
        unread = LeftOut()
        images = images_below(child, unread)
        left_out.add_all(unread)
        if images:
            found[child.name] = images
        elif unread.may_be_images:
            lost[child] = unread
    if here and found:
        raise UserError(
            f"{folder} holds images of its own and in its subfolder {next(iter(found))}; put every image in a "
            "subfolder named after its class, or all images in one folder."
        )
    if not (here or found):
        raise UserError(
            f"no image was found in {folder}; expected files ending in .jpg, .png or another of the "
            f"{len(extensions())} extensions that Pillow reads here, in it or in one subfolder per class"
            + (f", and found {left_out}." if left_out else ".")
        )
    if lost:
        path, unread = next(iter(lost.items()))
        raise UserError(
            f"no file of {path} can be read as an image: {unread}; convert them to .jpg or .png or, if {path.name} is "
            f"not a class, move it out of {folder}."
        )
    left_out.report(folder)
    if here:
        return FoundImages(here, None, None, str(folder))
    paths = [path for images in found.values() for path in images]
    if len(found) == 1:
        return FoundImages(paths, None, None, str(folder))
    labels = np.repeat(np.arange(len(found)), [len(images) for images in found.values()])
    return FoundImages(paths, labels, tuple(found), str(folder))


def listed_images(
    paths: Sequence[str | Path], labels: Sequence[int], classes: Sequence[str], root: Path
) -> FoundImages:
    """Return the image files of a list with their labels, in the order of their names.

    Args:
        paths: N files.
        labels: their class indices, N.
        classes: names of the classes.
        root: a folder that contains all of them.

    Raises:
        UserError: if a file is missing; it names the first.
    """
    missing = next((path for path in paths if not os.path.isfile(path)), None)
    if missing is not None:
        raise UserError(f"the file {missing} is in the data set's list but does not exist; unpack the archive again.")
    names = list(map(str, paths))
    order = sorted(range(len(names)), key=names.__getitem__)
    chosen = np.array([labels[place] for place in order], dtype=np.int64)
    return FoundImages([names[place] for place in order], chosen, tuple(classes), str(root))


def folders_with_images(folder: Path) -> list[Path]:
    """Return the subfolders of a folder that hold an image at any depth, sorted by name."""
    return [child for child in _list(folder, LeftOut())[1] if _holds_images(child)]


def images_in(folder: Path) -> list[str]:
    """Return the images that lie directly in a folder, sorted by name."""
    return _list(folder, LeftOut())[0]


def images_below(folder: Path, left_out: LeftOut) -> list[str]:
    """Return the images in a folder at any depth: those of a folder sorted by name, before those of its subfolders.

    Hidden files and folders are ignored. Other files are added to `left_out`.
    """
    images, folders = _list(folder, left_out)
    for child in folders:
        images += images_below(child, left_out)
    return images


def _holds_images(folder: Path) -> bool:
    images, folders = _list(folder, LeftOut())
    return bool(images) or any(map(_holds_images, folders))


def _list(folder: Path, left_out: LeftOut) -> tuple[list[str], list[Path]]:
    """Return images and subfolders of a folder, each sorted by name."""
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith((".", "__MACOSX")) or entry.name.lower() in _LITTER:
                    continue
                if entry.is_dir():
                    folders.append(Path(entry.path))
                else:
                    files.append(entry.path)
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read: {error.strerror}.") from error
    images = []
    for path in sorted(files):
        if is_image(path):
            images.append(path)
        else:
            left_out.add(path)
    return images, sorted(folders)
