"""Reading image files with Pillow: whole, or only the parts that views are cut from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from vje_ppl.data.image_files import ImageFile

type Box = tuple[float, float, float, float]  # top, left, height, width in pixels

_MODES = {1: "L", 3: "RGB"}
_EXIF_ORIENTATION = 0x0112
_SIDEWAYS = range(5, 9)

#: What the files may be, whatever their names say. Pillow knows others, for some of which it runs other programs.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")


class UnreadableImageError(Exception):
    """An image file that cannot be used.

    Args:
        problem: names the file and says what is wrong with it; the exception's text.
        remedy: what to do about it.

    Attributes:
        sentence: problem and remedy, for whoever did not ask to leave such files out.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.sentence = f"{problem}; {remedy}, or set data.on_error=skip to leave such files out."


def read_image(path: ImageFile, channels: int) -> UInt8[np.ndarray, "C H W"]:
    """Decodes a whole image.

    Args:
        path: the file.
        channels: 1 or 3: what to convert it to.

    Raises:
        UnreadableImageError: if the file is missing, truncated, damaged or no image.
    """
    with _naming(path), Image.open(_source(path), formats=_FORMATS) as opened:
        image = _converted(_upright(opened), channels)
        return _channels_first(image)


def read_size(path: ImageFile) -> tuple[int, int]:
    """Reads the height and width of an image from its header.

    Raises:
        UnreadableImageError: if the file is missing or no image.
    """
    with _naming(path), Image.open(_source(path), formats=_FORMATS) as opened:
        width, height = opened.size
        sideways = _orientation(opened) in _SIDEWAYS
    return (width, height) if sideways else (height, width)


def read_cuts(
    path: ImageFile, channels: int, size: int, choose_boxes: Callable[[int, int], Sequence[Box]]
) -> UInt8[np.ndarray, "V C size size"]:
    """Decodes an image once and cuts boxes out of it, each resized with antialiasing.

    A JPEG is decoded at a half, a quarter or an eighth of its resolution where every box keeps at least `size` pixels.

    Args:
        path: the file.
        channels: 1 or 3: what to convert it to.
        size: side of each cut in pixels.
        choose_boxes: from the image's height and width in pixels to the boxes to cut (top, left, height, width; a
            negative height or width mirrors the cut).

    Raises:
        UnreadableImageError: if the file is missing, truncated, damaged, no image, or smaller than `size`.
    """
    with ExitStack() as stack:
        with _naming(path):
            opened = stack.enter_context(Image.open(_source(path), formats=_FORMATS))
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
                # Not the ratio of the sizes, in which the last pixel counts as a whole one.
                decoded_share = 1.0 if draft is None else draft[1][2] / width
            image = _converted(image, channels)
            return np.stack([_cut(image, box, size, decoded_share) for box in boxes])


def _source(path: ImageFile) -> str | BytesIO:
    return path if isinstance(path, str) else BytesIO(path.read())


def _cut(image: Image.Image, box: Box, size: int, share: float) -> np.ndarray:
    """Cuts a box, given in pixels of the full resolution, of which the image has a share each way."""
    top, left, height, width = (share * side for side in box)
    low_x, high_x = sorted((left, left + width))
    low_y, high_y = sorted((top, top + height))
    edges = (low_x, low_y, min(high_x, image.size[0]), min(high_y, image.size[1]))
    cut = image.resize((size, size), Image.Resampling.BILINEAR, box=edges, reducing_gap=2.0)
    cut = cut.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if height < 0 else cut
    cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if width < 0 else cut
    return _channels_first(cut)


def _converted(image: Image.Image, channels: int) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel: Pillow's own conversion would clip at 255
        image = Image.fromarray((np.asarray(image, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode != _MODES[channels]:
        return image.convert(_MODES[channels])
    image.load()
    return image


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
    """Turns whatever Pillow stumbles on into a sentence that names the file; what it only warns of is no trouble."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MemoryError:
        raise
    except Exception as error:  # every decoder raises errors of its own
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = (reason or type(error).__name__).splitlines()[0].rstrip(".")
        raise UnreadableImageError(f"the image {path} cannot be read ({reason})", "repair or remove it") from error
