"""The files that Pillow can open on this machine, by extension and content."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from PIL import Image

#: Tried first, in this order.
_COMMON = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")

#: Formats that Pillow recognizes but that are not read: for some it runs another program (EPS:
#: Ghostscript) or the system (WMF, only on Windows), for others it has no decoder.
_NOT_READ = frozenset({"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"})


@cache
def extensions() -> Mapping[str, str]:
    """Return extensions in lower case, with their dots, of the files that are read; each with its format."""
    known = {extension.lower(): name for extension, name in Image.registered_extensions().items()}
    readable = {extension: name for extension, name in known.items() if name in Image.OPEN and name not in _NOT_READ}
    if "JPEG" in Image.OPEN:
        readable |= {extension: "JPEG" for extension, name in known.items() if name == "MPO"}  # several JPEGs in a row
    return MappingProxyType(readable)


def extension(name: str) -> str:
    """Return what a file name ends in, from its last dot, in lower case."""
    return os.path.splitext(name)[1].lower()


def formats(name: str) -> tuple[str, ...]:
    """Return the possible formats of a file: all with a signature, or the format of its extension."""
    claimed = extensions().get(extension(name))
    signed = _signed()
    return signed if claimed is None or claimed in signed else (*signed, claimed)


@cache
def _signed() -> tuple[str, ...]:
    """Return the formats that Pillow recognizes by a file's first bytes; others would accept any bytes."""
    Image.init()
    others = sorted(name for name, (_, accept) in Image.OPEN.items() if accept is not None and name not in _NOT_READ)
    return tuple(dict.fromkeys([*(name for name in _COMMON if name in Image.OPEN), *others]))


def is_image(path: str) -> bool:
    """Return whether to read a file: by its extension or, without an extension, if Pillow recognizes its content."""
    ending = extension(path)
    if ending:
        return ending in extensions()
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_signed()):
            return True
    except Exception:  # every format raises its own errors
        return False
