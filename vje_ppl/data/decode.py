"""Reading image files with Pillow: whole, or only the parts that views are cut from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from vje_ppl.data.formats import formats
from vje_ppl.data.image_files import ImageFile

type Box = tuple[float, float, float, float]  # top, left, height, width in pixels

_MODES = {1: "L", 3: "RGB"}
_EXIF_ORIENTATION = 0x0112
_SIDEWAYS = range(5, 9)
_BITS_PER_SAMPLE, _SAMPLE_FORMAT, _SIGNED = 258, 339, 2  # in TIFF


class UnreadableImageError(Exception):
    """An image file that cannot be used.

    Args:
        problem: what is wrong with the file, by name; the exception's text.
        remedy: what to do about the problem.

    Attributes:
        sentence: problem and remedy, for errors that are not skipped.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.sentence = f"{problem}; {remedy}, or set data.on_error=skip to leave such files out."


def read_image(path: ImageFile, channels: int, bits: int | None = None) -> UInt8[np.ndarray, "C H W"]:
    """Decode a whole image; of a file with several images, the first.

    Values of 8 bits or fewer are read as Pillow reads them, without transparency. Grey values of more bits are
    shifted right to 8 bits, and floats scaled and rounded: see `bits`.

    Args:
        path: the file.
        channels: 1 or 3, to which the image is converted.
        bits: b, from 8 to 32, if integers of more than 8 bits and floats range from 0 to 2^b − 1, which becomes 0 to
            255. None: integers of 16 bits fill their range, floats lie in [0, 1], and integers of 32 bits are refused.
            A range that the file states (PGM, TIFF of 9 to 15 bits) takes precedence.

    Raises:
        UnreadableImageError: if the file is missing, truncated, damaged or not an image, or has values outside the
            range.
    """
    with _naming(path), Image.open(_source(path), formats=formats(str(path))) as opened:
        levels = _Levels.of(path, opened, bits)
        return _channels_first(_converted(_upright(opened), channels, levels))


def largest_sixteen_bits(path: ImageFile) -> int | None:
    """Return the largest value of a grey image of 16 bits that may use fewer of them; None for any other.

    Raises:
        UnreadableImageError: as `read_image`.
    """
    with _naming(path), Image.open(_source(path), formats=formats(str(path))) as opened:
        stored, certain = _stored_bits(opened)
        return None if stored is None or certain else int(np.asarray(opened).max())


def read_size(path: ImageFile) -> tuple[int, int]:
    """Read the height and width of an image from its header.

    Raises:
        UnreadableImageError: if the file is missing or not an image.
    """
    with _naming(path), Image.open(_source(path), formats=formats(str(path))) as opened:
        width, height = opened.size
        sideways = _orientation(opened) in _SIDEWAYS
    return (width, height) if sideways else (height, width)


def read_cuts(
    path: ImageFile,
    channels: int,
    size: int,
    choose_boxes: Callable[[int, int], Sequence[Box]],
    bits: int | None = None,
) -> UInt8[np.ndarray, "V C size size"]:
    """Decode an image once and cut boxes out of it, each resized with antialiasing.

    A JPEG is decoded at a half, a quarter or an eighth of its resolution where every box keeps at least `size` pixels.

    Args:
        path: the file.
        channels: 1 or 3, to which the image is converted.
        size: side of each cut in pixels.
        choose_boxes: from the image's height and width in pixels to the boxes to cut (top, left, height, width; a
            negative height or width mirrors the cut).
        bits: as in `read_image`.

    Raises:
        UnreadableImageError: as `read_image`, and if the image is smaller than `size`.
    """
    with ExitStack() as stack:
        with _naming(path):
            opened = stack.enter_context(Image.open(_source(path), formats=formats(str(path))))
            levels = _Levels.of(path, opened, bits)
            image = _upright(opened)
        width, height = image.size
        if min(width, height) < size:
            raise UnreadableImageError(
                f"the image {path} is {height}×{width} pixels, smaller than the views of {size}×{size} pixels to be "
                "cut from it",
                f"set augment.size to at most {min(width, height)}, remove it",
            )
        boxes = choose_boxes(height, width)
        reduction = max(1.0, min(min(abs(box[2]), abs(box[3])) for box in boxes) / size)
        decoded_share = 1.0
        with _naming(path):
            if image is opened:
                draft = opened.draft(_MODES[channels], (int(width / reduction), int(height / reduction)))
                # Not the ratio of the sizes, which counts the last pixel as whole.
                decoded_share = 1.0 if draft is None else draft[1][2] / width
            image = _converted(image, channels, levels)
            return np.stack([_cut(image, box, size, decoded_share) for box in boxes])


def _source(path: ImageFile) -> str | BytesIO:
    return path if isinstance(path, str) else BytesIO(path.read())


def _cut(image: Image.Image, box: Box, size: int, share: float) -> np.ndarray:
    """Cut a box, given in pixels of the full resolution, of which the image has a share each way."""
    top, left, height, width = (share * side for side in box)
    low_x, high_x = sorted((left, left + width))
    low_y, high_y = sorted((top, top + height))
    edges = (low_x, low_y, min(high_x, image.size[0]), min(high_y, image.size[1]))
    cut = image.resize((size, size), Image.Resampling.BILINEAR, box=edges, reducing_gap=2.0)
    cut = cut.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if height < 0 else cut
    cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if width < 0 else cut
    return _channels_first(cut)


def _converted(image: Image.Image, channels: int, levels: _Levels) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):  # which Pillow's own conversion would clip at 255
        image = Image.fromarray(levels.to_bytes(np.asarray(image)))
    if image.mode != _MODES[channels]:
        return image.convert(_MODES[channels])
    image.load()
    return image


@dataclass(frozen=True)
class _Levels:
    """How the values of an image of more than 8 bits, or of floats, become bytes.

    Attributes:
        path: the file.
        mode: Pillow's name for the type of its values.
        bits: the range is 0 to 2^bits − 1; None: [0, 1] for floats, unknown for integers.
    """

    path: ImageFile
    mode: str
    bits: int | None

    @classmethod
    def of(cls, path: ImageFile, opened: Image.Image, bits: int | None) -> _Levels:
        if opened.mode == "L" and getattr(opened, "tag_v2", {}).get(_SAMPLE_FORMAT) == (_SIGNED,):
            raise UnreadableImageError(f"the image {path} has signed values of 8 bits", "save it with unsigned ones")
        stored, certain = _stored_bits(opened)
        return cls(path, opened.mode, stored if certain or bits is None else bits)

    def to_bytes(self, values: np.ndarray) -> UInt8[np.ndarray, "H W"]:
        if not np.isfinite(values).all():
            raise UnreadableImageError(
                f"the image {self.path} is of mode {self.mode} and has pixels that are NaN or infinite",
                "give them values, remove it",
            )
        low, high = values.min(), values.max()
        largest = 1 if self.bits is None else 2**self.bits - 1
        unknown = self.bits is None and self.mode != "F"
        if unknown or low < 0 or high > largest:
            expected = "say" if unknown else f"expected are 0 to {largest}: say"
            raise UnreadableImageError(
                f"the image {self.path} is of mode {self.mode} with values from {low:g} to {high:g}",
                f"{expected} with data.bits=8 to 32 that its range is 0 to 2^bits - 1, save it with 8 bits",
            )
        if self.mode == "F":
            return np.rint(values * (255 / largest)).astype(np.uint8)
        assert self.bits is not None
        return (values.astype(np.int64) >> (self.bits - 8)).astype(np.uint8)


def _stored_bits(opened: Image.Image) -> tuple[int | None, bool]:
    """Return the bits of an image's integers, and whether they certainly fill that range; None if unknown."""
    if opened.mode.startswith("I;16"):
        bits = int(getattr(opened, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0])
        return bits, bits < 16
    if opened.mode == "I" and opened.format in ("PNG", "PPM"):
        # Pillow stretches a PGM to 16 bits unless its largest value is already that of 16 bits.
        return 16, opened.format == "PPM" and opened.tile[0].codec_name != "raw"  # type: ignore[attr-defined]
    return None, False


def _channels_first(image: Image.Image) -> np.ndarray:
    # Pillow takes channels apart several times as fast as NumPy copies a transposed array.
    bands = b"".join(band.tobytes() for band in image.split())
    return np.frombuffer(bands, dtype=np.uint8).reshape(-1, image.height, image.width)


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(_EXIF_ORIENTATION, 1)) if "exif" in image.info else 1


def _upright(image: Image.Image) -> Image.Image:
    return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)


@contextmanager
def _naming(path: ImageFile) -> Iterator[None]:
    """Turn Pillow's errors into a sentence that names the file; its warnings are ignored."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (MemoryError, UnreadableImageError):
        raise
    except Exception as error:  # every decoder raises its own errors
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = (reason or type(error).__name__).splitlines()[0].rstrip(".")
        raise UnreadableImageError(f"the image {path} cannot be read ({reason})", "repair or remove it") from error
