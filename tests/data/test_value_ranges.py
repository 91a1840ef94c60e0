"""Values of more than 8 bits, and floats, become bytes by a stated rule or are refused, on every way of reading."""

from __future__ import annotations

import logging
import struct

import numpy as np
import pytest
from PIL import Image

from vje_ppl.data.decode import UnreadableImageError, read_cuts, read_image
from vje_ppl.data.loaders.image_folder import image_folder
from vje_ppl.errors import UserError

SIDE = 16
RAMP = np.linspace(0, 1, SIDE * SIDE).reshape(SIDE, SIDE)


def both(path, bits=None):
    """What the file is in memory and as it is streamed, which must be the same."""
    whole = read_image(str(path), 1, bits)
    cut = read_cuts(str(path), 1, SIDE, lambda height, width: [(0.0, 0.0, float(height), float(width))], bits)[0]
    assert np.array_equal(whole, cut)
    return whole[0]


def refusal(path, bits=None):
    """The sentence with which both ways of reading refuse a file."""
    said = set()
    for read in (
        lambda: read_image(str(path), 1, bits),
        lambda: read_cuts(str(path), 1, SIDE, lambda *_: [(0.0, 0.0, 16.0, 16.0)], bits),
    ):
        with pytest.raises(UnreadableImageError) as caught:
            read()
        said.add(caught.value.sentence)
    (sentence,) = said
    assert str(path) in sentence
    return sentence


def save(values, path):
    Image.fromarray(values).save(path)
    return path


def tiff(values, bits, kind):
    """A TIFF of one strip, of types that Pillow reads and does not write."""
    data = values.tobytes()
    height, width = values.shape
    short, long = 3, 4
    tags = [(256, long, width), (257, long, height), (258, short, bits), (259, short, 1), (262, short, 1)]
    tags += [(273, long, 0), (277, short, 1), (278, long, height), (279, long, len(data)), (339, short, kind)]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, of, 1, start if tag == 273 else value) for tag, of, value in tags)
    return b"II" + struct.pack("<HIH", 42, 8, len(tags)) + entries + bytes(4) + data


@pytest.mark.parametrize("name", ["x.tif", "x.png", "x.jp2"])
def test_sixteen_bits_fill_their_range_unless_told_otherwise(tmp_path, name):
    values = (RAMP * 65535).astype(np.uint16)
    assert np.array_equal(both(save(values, tmp_path / name)), values >> 8)
    values = (RAMP * 4095).astype(np.uint16)
    assert np.array_equal(both(save(values, tmp_path / name), bits=12), values >> 4)


def test_big_endian_is_no_matter(tmp_path):
    values = (RAMP * 65535).astype(">u2")
    image = Image.frombytes("I;16B", (SIDE, SIDE), values.tobytes())
    image.save(tmp_path / "x.tif")
    assert np.array_equal(both(tmp_path / "x.tif"), values >> 8)


def test_a_file_that_says_its_range_is_scaled_by_it(tmp_path):
    (tmp_path / "x.pgm").write_bytes(b"P5 16 16 4095\n" + (RAMP * 4095).astype(">u2").tobytes())
    (tmp_path / "full.pgm").write_bytes(b"P5 16 16 65535\n" + (RAMP * 65535).astype(">u2").tobytes())
    packed = np.zeros((SIDE, SIDE * 12 // 8), np.uint8)
    packed[:, 0::3] = 0xFF
    (tmp_path / "x.tif").write_bytes(
        tiff(packed, 12, 1).replace(struct.pack("<HHII", 256, 4, 1, 24), struct.pack("<HHII", 256, 4, 1, 16))
    )
    expected = np.floor(RAMP * 256).clip(0, 255)
    for bits in (None, 12):
        assert np.abs(both(tmp_path / "x.pgm", bits) - expected).max() <= 1
        assert set(both(tmp_path / "x.tif", bits).flat) == {0, 0xFF}
    assert np.abs(both(tmp_path / "full.pgm") - expected).max() <= 1


def test_floats_lie_between_zero_and_one_unless_told_otherwise(tmp_path):
    path = save(RAMP.astype(np.float32), tmp_path / "x.tif")
    assert np.array_equal(both(path), np.rint(RAMP.astype(np.float32) * 255))
    path = save((RAMP * 255).astype(np.float32), tmp_path / "bytes.tif")
    assert np.array_equal(both(path, bits=8), np.rint((RAMP * 255).astype(np.float32)))
    said = refusal(path)
    assert "mode F with values from 0 to 255; expected are 0 to 1" in said
    assert "data.bits=8" in said


@pytest.mark.parametrize("bits", [8, 12, 16, 20])
def test_integers_of_32_bits_need_their_range(tmp_path, bits):
    values = (RAMP * (2**bits - 1)).astype(np.int32)
    path = save(values, tmp_path / "x.tif")
    assert f"mode I with values from 0 to {2**bits - 1:g}; say with data.bits" in refusal(path)
    assert np.array_equal(both(path, bits), values >> (bits - 8))


@pytest.mark.parametrize(
    ("values", "bits", "told"),
    [
        pytest.param(RAMP.astype(np.float32) - 0.5, None, "from -0.5 to 0.5", id="negative floats"),
        pytest.param((RAMP * 5000).astype(np.uint16), 12, "from 0 to 5000; expected are 0 to 4095", id="over 12 bits"),
        pytest.param((RAMP * 9).astype(np.int32) - 3, 8, "from -3 to 6", id="negative integers"),
        pytest.param(np.where(RAMP > 0.5, np.nan, 0).astype(np.float32), None, "NaN or infinite", id="NaN"),
        pytest.param(np.where(RAMP > 0.5, np.inf, 0).astype(np.float32), 16, "NaN or infinite", id="infinite"),
    ],
)
def test_values_outside_the_range_are_refused_with_mode_and_range(tmp_path, values, bits, told):
    assert told in refusal(save(values, tmp_path / "x.tif"), bits)


def test_integers_that_pillow_reads_with_another_sign_are_refused(tmp_path):
    (tmp_path / "signed.tif").write_bytes(tiff((RAMP * 100 - 50).astype(np.int8), 8, 2))
    assert "signed values of 8 bits" in refusal(tmp_path / "signed.tif")
    (tmp_path / "unsigned.tif").write_bytes(tiff((RAMP * (2**32 - 1)).astype(np.uint32), 32, 1))
    assert "mode I with values from -2" in refusal(tmp_path / "unsigned.tif", bits=32)


def folder_of(root, *images):
    root.mkdir()
    for number, values in enumerate(images):
        save(values, root / f"{number}.png")
    return str(root)


@pytest.mark.parametrize("memory_mb", [512, 0], ids=["held in memory", "streamed"])
@pytest.mark.parametrize("bits", [10, 12])
def test_a_set_of_fewer_bits_in_sixteen_is_refused_with_the_cure(tmp_path, bits, memory_mb):
    images = [(RAMP * (2**bits - 1)).astype(np.uint16) >> shift for shift in range(3)]
    root = folder_of(tmp_path / "images", *images)
    with pytest.raises(UserError, match=rf"reach {2**bits - 1} of 65535 in the 3 .* data.bits={bits} if"):
        image_folder(root, memory_mb=memory_mb)
    assert len(image_folder(root, bits=16, memory_mb=memory_mb).train) == 3
    data = image_folder(root, bits=bits, channels=1, memory_mb=512)
    assert data.train.images.amax((1, 2, 3)).tolist() == [255, 127, 63]


def test_fourteen_bits_in_sixteen_are_read_with_a_warning_and_sixteen_without(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        image_folder(folder_of(tmp_path / "full", (RAMP * 3000).astype(np.uint16), (RAMP * 65535).astype(np.uint16)))
        assert caplog.text == ""
        image_folder(folder_of(tmp_path / "dark", (RAMP * 16383).astype(np.uint16)))
    assert "reach 16383 of 65535" in caplog.text
    assert "data.bits=14" in caplog.text


@pytest.mark.parametrize("bits", [7, 33, True])
def test_bits_that_are_none_are_refused(tmp_path, bits):
    with pytest.raises(UserError, match=r"data.bits must be null or a whole number from 8 to 32"):
        image_folder(folder_of(tmp_path / "images", (RAMP * 255).astype(np.uint8)), bits=bits)
