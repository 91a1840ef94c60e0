"""Grey images of 16 bits that use fewer of them, as those of 12-bit cameras do."""

from __future__ import annotations

import numpy as np

from vje_ppl.data.decode import UnreadableImageError, largest_sixteen_bits
from vje_ppl.data.loaders.files import FileOptions
from vje_ppl.data.loaders.left_out import say_once
from vje_ppl.data.loaders.scan import FoundImages
from vje_ppl.errors import UserError

_LOOKED_AT = 16
_USUAL = (8, 10, 12, 14)


def check_bits(name: str, found: FoundImages, options: FileOptions) -> None:
    """Looks at up to 16 of the images, where `data.bits` does not say how many bits they have.

    Those of 16 bits are taken to fill their range. If none reaches a quarter of it a warning says so.

    Args:
        name: the data set's.
        found: the images.
        options: how they are read.

    Raises:
        UserError: if none reaches a sixteenth, so that they would be read as nearly black.
    """
    if options.bits is not None:
        return
    places = np.unique(np.linspace(0, len(found.paths) - 1, min(_LOOKED_AT, len(found.paths))).astype(int))
    reached = [value for place in places if (value := _largest(found, int(place))) is not None]
    if not reached or max(reached) >= 1 << 14:
        return
    likely = next(bits for bits in _USUAL if max(reached) < 1 << bits)
    told = f"the 16-bit images of {name} reach {max(reached)} of 65535 in the {len(reached)} that were looked at"
    remedy = f"give data.bits={likely} if their values have {likely} bits, or data.bits=16 to read them as they are"
    if max(reached) < 1 << 12:
        raise UserError(f"{told} and would be read as nearly black; {remedy}.")
    say_once(f"{told} and are read as dark; {remedy}")


def _largest(found: FoundImages, place: int) -> int | None:
    try:
        return largest_sixteen_bits(found.paths[place])
    except UnreadableImageError:  # which is dealt with as `data.on_error` says when it is read
        return None
