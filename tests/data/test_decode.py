import numpy as np
import pytest
from PIL import Image

from vje_ppl.data.decode import UnreadableImageError, read_cuts, read_image, read_size


def levels(path):
    return np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)


@pytest.mark.parametrize("extension", ["png", "jpg", "bmp", "webp", "tif"])
def test_whole_image_is_what_pillow_reads(tmp_path, write_image, extension):
    path = write_image(tmp_path / f"image.{extension}", 20, 30)
    assert np.array_equal(read_image(str(path), 3), levels(path))
    assert read_size(str(path)) == (20, 30)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_mode_is_converted(tmp_path, write_image, mode, channels):
    path = write_image(tmp_path / ("image.tif" if mode == "CMYK" else "image.png"), 20, 30, mode=mode)
    expected = np.asarray(Image.open(path).convert("L" if channels == 1 else "RGB"))
    pixels = read_image(str(path), channels)
    assert pixels.shape == (channels, 20, 30)
    assert np.array_equal(pixels[0], expected if channels == 1 else expected[..., 0])


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(str(tmp_path / "deep.png"), 1)[0], values >> 8)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_photographs_are_turned_upright(tmp_path, write_image, orientation):
    path = write_image(tmp_path / "upright.png", 20, 30)
    turn = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.open(path)
    stored = image if turn is None else image.transpose(turn)
    stored.save(tmp_path / "stored.png", exif=exif)
    assert np.array_equal(read_image(str(tmp_path / "stored.png"), 3), levels(path))
    assert read_size(str(tmp_path / "stored.png")) == (20, 30)
    cut = read_cuts(str(tmp_path / "stored.png"), 3, 8, lambda height, width: [(2.0, 3.0, 8.0, 8.0)])[0]
    assert np.array_equal(cut, levels(path)[:, 2:10, 3:11])


def test_cuts_at_their_own_size_are_exact_and_mirrored(tmp_path, write_image):
    path = write_image(tmp_path / "image.png", 40, 50)
    whole = levels(path)
    boxes = [(3.0, 4.0, 16.0, 16.0), (3.0, 20.0, 16.0, -16.0), (19.0, 4.0, -16.0, 16.0), (24.0, 34.0, 16.0, 16.0)]
    cuts = read_cuts(str(path), 3, 16, lambda height, width: boxes)
    part = whole[:, 3:19, 4:20]
    assert np.array_equal(cuts[0], part)
    assert np.array_equal(cuts[1], part[:, :, ::-1])
    assert np.array_equal(cuts[2], part[:, ::-1])
    assert np.array_equal(cuts[3], whole[:, 24:40, 34:50])


@pytest.mark.parametrize("side", [401, 640], ids=["odd", "even"])
def test_reduced_decoding_of_a_jpeg_shows_the_same(tmp_path, write_image, side):
    path = write_image(tmp_path / "image.jpg", side, side + 90)
    boxes = [(11.0, 17.0, side - 100.0, side - 50.0), (float(side), 80.0, -float(side), 300.0)]
    with Image.open(path) as image:
        image.draft("RGB", (32 * (side + 90) // 300, 32 * side // 300))
        assert image.size[0] < side + 90  # else nothing would be reduced
    cuts = read_cuts(str(path), 3, 32, lambda height, width: boxes)
    whole = Image.fromarray(levels(path).transpose(1, 2, 0))
    for cut, (top, left, height, width) in zip(cuts, boxes, strict=True):
        low, high = min(top, top + height), max(top, top + height)
        full = whole.resize((32, 32), Image.Resampling.BILINEAR, box=(left, low, left + width, high))
        expected = np.asarray(full).transpose(2, 0, 1)[:, :: int(np.sign(height))].astype(int)
        # Smooth content: at most 255 over about 100 pixels, so that a filter misplaced by a pixel is 3 levels off.
        assert np.abs(cut.astype(int) - expected).max() <= 4


@pytest.mark.parametrize("extension", ["png", "jpg", "bmp", "tif", "webp", "gif"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_truncated_file_is_unreadable_and_named(tmp_path, write_image, extension, share):
    path = write_image(tmp_path / f"image.{extension}", 64, 64)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    for read in (
        lambda: read_image(str(path), 3),
        lambda: read_cuts(str(path), 3, 16, lambda height, width: [(0.0, 0.0, 16.0, 16.0)]),
    ):
        with pytest.raises(UnreadableImageError, match=f"^the image {path} cannot be read") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_missing_file_and_folder_are_unreadable(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(UnreadableImageError, match=r"missing.jpg cannot be read \(No such file"):
        read_size(str(tmp_path / "missing.jpg"))
    with pytest.raises(UnreadableImageError, match=r"folder.jpg cannot be read \(Is a directory"):
        read_image(str(tmp_path / "folder.jpg"), 3)
