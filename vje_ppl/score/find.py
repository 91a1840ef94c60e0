"""The images to score: folders, files, lists and shards."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vje_ppl.data.image_files import FileNames, ImageFile, ImageFiles
from vje_ppl.data.loaders.scan import images_below
from vje_ppl.data.loaders.shard_index import ShardMembers, shard_index
from vje_ppl.errors import UserError

_SHARD, _LIST = ".tar", ".txt"

#: What a spreadsheet may take for the start of a formula.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


@dataclass(frozen=True, eq=False)
class FoundFiles:
    """Image files, in a fixed order.

    Attributes:
        files: the files.
        name: a name for all of them, such as the name of their folder.
    """

    files: ImageFiles
    name: str


def find_files(wanted: Any, key: str = "images") -> FoundFiles:
    """Find images.

    Args:
        wanted: a path, or several: a folder, whose images at any depth are sorted by path, or which holds shards; an
            image; a `.txt` file with a path per line, relative to its folder; a `.tar` shard, or a pattern with `*` of
            shards.
        key: the option, for errors.

    Raises:
        UserError: if a path does not exist, a list or shard cannot be read, or there is no image.
    """
    paths = path_list(wanted, key)
    name = name_of(paths)
    shards = [_shards(path, key) for path in paths]
    if any(shards):
        if not all(shards):
            mixed = paths[next(place for place, one in enumerate(shards) if not one)]
            raise UserError(f"{key} expects shards alone or files alone, got shards and {mixed}; score them apart.")
        members = _members([shard for some in shards for shard in some])
        if not len(members):
            raise UserError(f"{key}={paths[0]} holds no image that Pillow can read.")
        return FoundFiles(members, name)
    files = [file for path in paths for file in _files(path, key)]
    if not files:
        raise UserError(f"{key}={paths[0]} holds no image that Pillow can read.")
    return FoundFiles(FileNames(files), name)


def path_list(wanted: Any, key: str = "images") -> list[str]:
    """Return a path or several as a list.

    Raises:
        UserError: if there is none.
    """
    paths = [str(one) for one in ([wanted] if isinstance(wanted, str | os.PathLike) else wanted)]
    if not paths:
        raise UserError(f"{key} expects at least one path, got none.")
    return paths


def written_path(file: ImageFile) -> tuple[str, str]:
    """Return the path of a file for a table, and a note if it is not written as it is.

    A name that a spreadsheet could take for a formula gets `./` in front, which names the same file. Bytes that are not
    UTF-8 are written as escapes.
    """
    path, notes = str(file), []
    if isinstance(file, str) and path.startswith(_FORMULA):
        path = f"./{path}"
        notes.append("the path is written with ./ in front, so that a spreadsheet does not read it as a formula")
    try:
        path.encode()
    except UnicodeEncodeError:
        path = os.fsencode(path).decode(errors="backslashreplace")
        notes.append("the path is not UTF-8; its other bytes are written as escapes")
    return path, "; ".join(notes)


def name_of(paths: Sequence[str]) -> str:
    """Return a folder name for the images: of the first path, without an extension."""
    first = Path(os.path.abspath(paths[0]))
    stem = first.name if first.is_dir() else first.stem
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "images"


def _shards(path: str, key: str) -> list[str]:
    """Return the shards that a path stands for; empty if it does not stand for shards."""
    if "*" in path and not os.path.exists(path):
        found = sorted(glob.glob(path))
        if not found or not all(one.endswith(_SHARD) for one in found):
            raise UserError(f"{key}={path} expects a pattern that matches .tar shards, and it matches {len(found)}.")
        return found
    if os.path.isfile(path) and path.endswith(_SHARD):
        return [path]
    if os.path.isdir(path):
        entries = sorted(entry.path for entry in os.scandir(path) if not entry.name.startswith("."))
        if any(one.endswith(_SHARD) for one in entries) and not any(map(os.path.isdir, entries)):
            return [one for one in entries if one.endswith(_SHARD)]
    return []


def _members(shards: list[str]) -> ShardMembers:
    index = shard_index(Path(shards[0]).parent, shards, "cls")
    return ShardMembers(shards, {name: index[name] for name in ("shard", "offset", "size", "name")})


def _files(path: str, key: str) -> Iterator[str]:
    if os.path.isdir(path):
        yield from images_below(Path(path))
    elif os.path.isfile(path) and path.lower().endswith(_LIST):
        yield from _listed(path, key)
    elif os.path.exists(path):
        yield path
    else:
        raise UserError(
            f"{key}={path} does not exist; give a folder, an image, a .txt list, .tar shards or an .npy or .npz file."
        )


def _listed(path: str, key: str) -> Iterator[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise UserError(f"{key}={path} cannot be read as a list of paths in UTF-8, a path per line.") from error
    folder = os.path.dirname(path)
    yield from (os.path.join(folder, line.removesuffix("\r")) for line in lines if line.strip())
