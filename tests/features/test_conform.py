import pytest
import torch
from PIL import Image

from vje_ppl.data import InMemoryImages, StreamedImages
from vje_ppl.features.other_data import conform


def pixels(channels, height=12, width=12):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (5, channels, height, width), dtype=torch.uint8, generator=generator)


def test_grey_is_what_pillow_makes_of_colours():
    images = pixels(3)
    converted, how = conform(InMemoryImages(images), 1, 12)
    assert how == "colour to grey"
    for colour, grey in zip(images, converted.images, strict=True):
        expected = torch.tensor(list(Image.fromarray(colour.permute(1, 2, 0).numpy()).convert("L").tobytes()))
        assert (grey.flatten().int() - expected).abs().max() <= 1  # Pillow rounds its weights to 16 bits


def test_colour_is_grey_three_times():
    images = pixels(1)
    converted, how = conform(InMemoryImages(images), 3, 12)
    assert how == "grey to three equal channels"
    assert torch.equal(converted.images, images.expand(-1, 3, -1, -1))


@pytest.mark.parametrize(("height", "width", "side"), [(32, 32, 8), (8, 8, 20), (40, 16, 16), (16, 40, 8)])
def test_the_central_square_is_resized(height, width, side):
    images = torch.zeros(2, 1, height, width, dtype=torch.uint8)
    square = min(height, width)
    top, left = (height - square) // 2, (width - square) // 2
    ramp = torch.linspace(0, 200, square).round().to(torch.uint8)
    images[:, :, top : top + square, left : left + square] = ramp
    converted, how = conform(InMemoryImages(images), 1, side)
    assert how == f"{height}×{width} to {side}×{side} pixels"
    # Pixel centres of the new grid on the ramp's; but for the border, where there is less to average over.
    centres = (torch.arange(side) + 0.5) * square / side - 0.5
    inner = slice(1, -1) if side < square else slice(side // square + 1, -(side // square) - 1)
    error = (converted.images[0, 0, side // 2].float() - centres * 200 / (square - 1))[inner].abs().max()
    assert converted.images.shape == (2, 1, side, side)
    assert error <= 2 + (square != side) * 100 / square


def test_what_fits_stays():
    images = pixels(3)
    same, how = conform(InMemoryImages(images), 3, 12)
    assert how == "as they are"
    assert same.images is images
    assert same.labels is None


def test_files_are_read_with_other_channels(tmp_path):
    files = StreamedImages([tmp_path / "a.png", tmp_path / "b.png"], channels=3, workers=0, skip_unreadable=True)
    grey, how = conform(files, 1, 8)
    assert (grey.channels, grey.workers, grey.skip_unreadable, len(grey)) == (1, 0, True, 2)
    assert grey.path(1) == str(tmp_path / "b.png")
    assert how == "read with 1 channel(s)"
