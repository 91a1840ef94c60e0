"""The IDX format of MNIST and its relatives, compressed or not."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vje_ppl.errors import UserError

_UNSIGNED_BYTES = 0x08


def read_idx(path: Path) -> UInt8[np.ndarray, " ..."]:
    """Reads an array of bytes.

    Args:
        path: the file; a name that ends in `.gz` is decompressed.

    Raises:
        UserError: if the file is not an IDX file of bytes, or is truncated.

    Source: the format's description at the end of http://yann.lecun.com/exdb/mnist/: two zero bytes, the type, the
    number of dimensions, the dimensions as big-endian 32-bit integers, the data.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"the file {path} cannot be read ({error}); delete it and download it again.") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTES]):
        raise UserError(f"the file {path} is not an IDX file of bytes; delete it and download it again.")
    start = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:start], dtype=">u4").astype(np.int64)
    if len(content) != start + shape.prod():
        raise UserError(
            f"the file {path} should hold {start + shape.prod()} bytes and holds {len(content)}; delete it and "
            "download it again."
        )
    return np.frombuffer(bytearray(content), dtype=np.uint8, offset=start).reshape(shape)
