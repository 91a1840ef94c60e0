"""Data sets that torchvision reads and, on request, downloads."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from filelock import FileLock

from vje_ppl.errors import UserError


def read_or_download[T](read: Callable[[bool], T], *, name: str, root: Path, folder: str, download: bool) -> T:
    """Read a data set, or raise an error with how to get the missing files.

    Of several processes that would download the same data set, the first does, and the others wait for it.

    Args:
        read: reads the data set, after downloading it if its argument is true.
        name: the data set's name on the command line.
        root: `data.root`.
        folder: the folder inside `root` that torchvision expects.
        download: whether the user asked for a download.

    Raises:
        UserError: if the folder is missing or incomplete, or the download fails.
    """
    expected = (root / folder).absolute()
    command = f"python -m vje_ppl.train data={name} data.root={root} data.download=true"
    if not download and not expected.is_dir():
        raise UserError(
            f"data={name} expects the folder {expected}, which does not exist; give its parent folder as data.root, "
            f"or download it with `{command}`."
        )
    try:
        with _alone(root, name) if download else nullcontext():
            return read(download)
    except UserError:
        raise
    except (RuntimeError, OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        if download:
            raise UserError(
                f"the download of {name} to {root.absolute()} failed ({reason}); check the network and the disk and "
                f"run `{command}` again."
            ) from error
        raise UserError(
            f"the files of {name} in {expected} are incomplete or damaged ({reason}); download them again with "
            f"`{command}`."
        ) from error


def _alone(root: Path, name: str) -> FileLock:
    """Return a lock that the kernel drops when the process ends, however it ends."""
    root.mkdir(parents=True, exist_ok=True)
    return FileLock(root / f".{name}.lock")
