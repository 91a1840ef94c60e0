"""Reading and writing of whole files, and sentences for errors.

A file is written under another name and then renamed, so that no reader sees half a file, even after a kill.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

from vje_ppl.errors import UserError


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that, at any moment, `path` holds either its old content or all of `data`.

    Only one process at a time may write a path.

    Raises:
        UserError: if it cannot be written; the old file is untouched, and no temporary file is left.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        try:
            temporary.unlink(missing_ok=True)  # left by a killed process
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path} could not be written: {explain(error)}.") from error


def open_no_link(path: Path, mode: str) -> TextIO:
    """Open a file for writing, without following a link in its place.

    Args:
        path: the file.
        mode: as for `open`, such as "a".

    Raises:
        OSError: if it cannot be opened, or is a link.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW, 0o666)

    return cast(TextIO, open(path, mode, encoding="utf-8", opener=opener))


def explain(error: OSError) -> str:
    """Return what is wrong with a place for files and what to do, as the end of a sentence."""
    fault = (error.strerror or str(error)).lower()
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return f"{fault}; free some space there or set run.root to a folder on another disk"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{fault}; make it writable or set run.root to a folder that is"
        case errno.ELOOP:
            return "it is a link to another place; remove the link"
        case errno.EEXIST | errno.ENOTDIR:
            return f"a file is in the way ({_in_the_way(error)}); move it or set run.root or run.name to another folder"
        case _:
            return f"{fault}; set run.root to another folder if this lasts"


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder, such as after a rename, are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks cannot do it
            raise
    finally:
        os.close(descriptor)


def read_json(path: Path, remedy: str = "move it away") -> dict[str, Any] | None:
    """Read a JSON file that holds a mapping; None if there is no file.

    Raises:
        UserError: if it cannot be read, or does not hold a mapping.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); {remedy}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a mapping, got a {type(content).__name__}; {remedy}.")
    return content


def csv_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as CSV under all their keys, in order of first appearance; missing values and None are empty."""
    text = io.StringIO(newline="")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def json_lines(value: Any) -> bytes:
    """Return indented JSON; infinities and NaN become null, and NumPy's numbers Python's.

    Args:
        value: nested mappings, sequences, texts and numbers.
    """
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _in_the_way(error: OSError) -> Path:
    path = Path(error.filename or "")
    return next((part for part in (path, *path.parents) if part.exists() and not part.is_dir()), path)
