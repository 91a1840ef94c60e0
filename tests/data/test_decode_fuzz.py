"""Whatever is in a file, reading it soon gives an image or one sentence: no warning, and no other exception."""

from __future__ import annotations

import io
import signal
import struct
import warnings
import zlib
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vje_ppl.data.decode import UnreadableImageError, read_cuts, read_image, read_size

SIZE = 16


def picture(mode="RGB", height=40, width=48):
    coarse = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height)).convert(mode)


def encoded(image, **options):
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def deep():
    return Image.fromarray(np.linspace(0, 65535, 40 * 48).astype(np.uint16).reshape(40, 48))


FILES = {
    "jpeg": encoded(picture(), format="JPEG"),
    "jpeg-progressive": encoded(picture(), format="JPEG", progressive=True),
    "jpeg-grey": encoded(picture("L"), format="JPEG"),
    "jpeg-cmyk": encoded(picture("CMYK"), format="JPEG"),
    "jpeg-turned": encoded(picture(), format="JPEG", exif=turned()),
    "png": encoded(picture(), format="PNG"),
    "png-alpha": encoded(picture("RGBA"), format="PNG"),
    "png-palette": encoded(picture("P"), format="PNG", transparency=bytes(range(256))),
    "png-16-bit": encoded(deep(), format="PNG"),
    "png-1-bit": encoded(picture("1"), format="PNG"),
    "png-turned": encoded(picture(), format="PNG", exif=turned()),
    "png-animated": encoded(picture(), format="PNG", save_all=True, append_images=[picture("L").convert("RGB")]),
    "gif-animated": encoded(picture("P"), format="GIF", save_all=True, append_images=[picture("P").rotate(90)]),
    "webp-animated": encoded(picture(), format="WEBP", save_all=True, append_images=[picture().rotate(90)]),
    "tiff": encoded(picture(), format="TIFF", compression="tiff_lzw"),
    "bmp": encoded(picture(), format="BMP"),
}


@contextmanager
def an_end_to_waiting(seconds=60):
    def expired(*_):
        raise AssertionError(f"reading took more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def box(height, width):
    return [(0.0, 0.0, float(height), float(width)), (float(height), 1.0, -float(SIZE), float(SIZE))]


def outcomes(path):
    """What each way of reading a file comes to; anything but an image or a sentence is an exception."""
    read = {
        "size": lambda: read_size(str(path)),
        "grey": lambda: read_image(str(path), 1),
        "RGB": lambda: read_image(str(path), 3),
        "cuts": lambda: read_cuts(str(path), 3, SIZE, box),
    }
    found, said = {}, []
    for name, one in read.items():
        try:
            with an_end_to_waiting(), warnings.catch_warnings():
                warnings.simplefilter("error")
                found[name] = one()
        except UnreadableImageError as error:
            found[name] = None
            said.append(error)
    assert all(str(error).startswith(f"the image {path} ") for error in said)
    assert all("\n" not in error.sentence for error in said)
    assert all(error.sentence.endswith(" or set data.on_error=skip to leave such files out.") for error in said)
    grey, colour, cuts = found["grey"], found["RGB"], found["cuts"]
    assert (grey is None) == (colour is None)
    if grey is not None and colour is not None:
        assert grey.dtype == colour.dtype == np.uint8
        assert colour.shape == (3, *grey.shape[1:]) == (3, *found["size"])
        assert min(grey.shape[1:]) > 0
    if cuts is not None:
        assert (cuts.dtype, cuts.shape) == (np.uint8, (2, 3, SIZE, SIZE))
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "image.jpg"


@pytest.mark.parametrize("name", FILES)
def test_whole_files_of_any_kind_are_read(path, name):
    path.write_bytes(FILES[name])
    assert all(one is not None for one in outcomes(path).values())


PLACE, BYTE = st.floats(0, 1, exclude_max=True), st.integers(0, 255)
MUTATIONS = st.one_of(
    st.tuples(st.just("set"), PLACE, BYTE),
    st.tuples(st.just("flip"), PLACE, st.integers(0, 7)),
    st.tuples(st.just("cut"), PLACE, st.integers(1, 200)),
    st.tuples(st.just("put"), PLACE, st.binary(min_size=1, max_size=20)),
    st.tuples(st.just("again"), PLACE, st.integers(1, 200)),
    st.tuples(st.just("end"), PLACE, st.none()),
)


def mutated(data, mutations):
    for kind, share, value in mutations:
        place = int(share * len(data))
        before, after = data[:place], data[place:]
        match kind:
            case "set":
                data = before + bytes([value]) + after[1:]
            case "flip":
                data = before + bytes([after[0] ^ 1 << value]) + after[1:] if after else before
            case "cut":
                data = before + after[value:]
            case "put":
                data = before + value + after
            case "again":
                data = before + after[:value] + after
            case "end":
                data = before
    return data


def with_sound_sums(data):
    """A PNG file whose chunks have the checksums that they should have, so that decoders look further."""
    signature, position, parts = data[:8], 8, []
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + length]
        parts.append(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
        position += 12 + length
    return signature + b"".join(parts)


def check_mutated(path, name, mutations, repair):
    data = mutated(FILES[name], mutations)
    path.write_bytes(with_sound_sums(data) if repair and name.startswith("png") else data)
    outcomes(path)


EXAMPLES = given(
    name=st.sampled_from(sorted(FILES)),
    mutations=st.lists(MUTATIONS, min_size=1, max_size=6),
    repair=st.booleans(),
)
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@EXAMPLES
@settings(max_examples=400, derandomize=True, **QUIET)
def test_mutated_files_are_read_or_refused(path, name, mutations, repair):
    check_mutated(path, name, mutations, repair)


@pytest.mark.slow
@EXAMPLES
@settings(max_examples=5_000, **QUIET)
def test_many_mutated_files_are_read_or_refused(path, name, mutations, repair):
    check_mutated(path, name, mutations, repair)


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith(("gif", "webp", "tiff", "bmp"))])
def test_every_truncation_is_read_or_refused(path, name):
    data = FILES[name]
    for length in [*range(0, min(len(data), 700), 7), *range(700, len(data), 101), len(data) - 1]:
        path.write_bytes(data[:length])
        outcomes(path)


def png(width, height, depth=8, colour=0, rows=None, extra=()):
    """A PNG file made by hand: what its header says need not be true."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1 << 16) if rows is None else rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*one) for one in extra) + data + chunk(b"IEND", b"")


def jpeg_of_size(width, height):
    data = FILES["jpeg"]
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


REFUSED = {
    "nothing": b"",
    "text": b"no image at all\n" * 40,
    "png of no width": png(0, 40),
    "png of no height": png(40, 0),
    "png of no size": png(0, 0),
    "png of a gigapixel square": png(2**31 - 1, 2**31 - 1),
    "png one pixel high and very wide": png(2**31 - 1, 1),
    "png of 400 megapixels": png(20_000, 20_000),
    "png with a text that unpacks to 64 MB": png(40, 40, extra=[(b"zTXt", b"x\0\0" + zlib.compress(bytes(1 << 26)))]),
    "png whose rows are missing": png(40, 40, rows=b""),
    "png of an unknown depth": png(40, 40, depth=3),
    "jpeg of no height": jpeg_of_size(48, 0),
    "jpeg of no width": jpeg_of_size(0, 40),
    "jpeg of four gigapixels": jpeg_of_size(65_500, 65_500),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n(x) print\nshowpage\n",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='40' height='40'/>",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_no_image_is_refused(path, data):
    path.write_bytes(data)
    found = outcomes(path)
    assert [found[name] for name in ("grey", "RGB", "cuts")] == [None, None, None]
