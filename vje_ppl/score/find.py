"""The images to score: folders, files, lists and shards."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from vje_ppl.data.image_files import FileNames, ImageFile, ImageFiles
from vje_ppl.data.loaders.left_out import LeftOut
from vje_ppl.data.loaders.scan import images_below, images_in
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
        left_out: which files among them are not scored, in words; empty if none.
    """

    files: ImageFiles
    name: str
    left_out: str = ""


def find_files(wanted: Any, key: str = "images") -> FoundFiles:
    """Find images.

    Args:
        wanted: a path, or several: a folder, whose images at any depth are sorted by path, or which holds shards and no
            image; an image; a `.txt` file with a path per line, relative to its folder; a `.tar` shard, or a pattern
            with `*` of shards.
        key: the option, for errors.

    Raises:
        UserError: if a path does not exist, a list or shard cannot be read, there is no image, or there are shards and
            images.
    """
    paths = path_list(wanted, key)
    name = name_of(paths)
    shards = [_shards(path, key) for path in paths]
    if any(shards):
        if not all(shards):
            mixed = paths[next(place for place, one in enumerate(shards) if not one)]
            raise UserError(f"{key} expects shards alone or files alone, got shards and {mixed}; score them apart.")
        files: ImageFiles
        files, left_out = _members([shard for some in shards for shard in some])
    else:
        others = LeftOut()
        files = FileNames([file for path in paths for file in _files(path, key, others)])
        left_out = str(others)
    if not len(files):
        found = f"; found {left_out}" if left_out else ""
        raise UserError(f"{key}={paths[0]} holds no image that Pillow can read{found}.")
    return FoundFiles(files, name, left_out)


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
    if path.startswith(_FORMULA):
        path = f"./{path}"
        notes.append("the path is written with ./ in front, so that a spreadsheet does not read it as a formula")
    try:
        path.encode()
    except UnicodeEncodeError:
        path = os.fsencode(path).decode(errors="backslashreplace")
        notes.append("the path is not UTF-8; its other bytes are written as escapes")
    return path, "; ".join(notes)


def last_changes(files: ImageFiles) -> Int64[np.ndarray, " N"]:
    """Return when each file, or the shard that holds it, was last changed, in ns; −1 for a missing file."""
    if isinstance(files, ShardMembers):
        return np.array([_last_change(shard) for shard in files.shards], dtype=np.int64)[files.shard_numbers]
    return np.array([_last_change(str(file)) for file in files], dtype=np.int64)


def _last_change(path: str) -> int:
    with suppress(OSError):  # reading the file will report the error
        return os.stat(path).st_mtime_ns
    return -1


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
    if not os.path.isdir(path):
        return []
    entries = sorted(entry.path for entry in os.scandir(path) if not entry.name.startswith("."))
    shards = [one for one in entries if one.endswith(_SHARD)]
    if not shards or any(map(os.path.isdir, entries)):
        return []
    images = images_in(Path(path))
    if images:
        raise UserError(
            f"{key} expects shards alone or files alone, got {path} with {os.path.basename(shards[0])} beside "
            f"{len(images)} image(s); score them apart: move the shards out, or give {key}={shards[0]}."
        )
    return shards


def _members(shards: list[str]) -> tuple[ShardMembers, str]:
    index = shard_index(Path(shards[0]).parent, shards, "cls")
    members = ShardMembers(shards, {name: index[name] for name in ("shard", "offset", "size", "name")})
    return members, str(index["left_out"])


def _files(path: str, key: str, left_out: LeftOut) -> Iterator[str]:
    if os.path.isdir(path):
        yield from images_below(Path(path), left_out)
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
