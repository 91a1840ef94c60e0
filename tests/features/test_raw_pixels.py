import pytest
import torch
from PIL import Image

from vje_ppl.data import InMemoryImages, StreamedImages
from vje_ppl.features.extract import raw_pixels


def images(count, side):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(("side", "expected"), [(8, 8), (32, 32), (48, 32)])
def test_pixels_from_files_are_those_in_memory(tmp_path, side, expected):
    held = images(5, side)
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path, image in zip(paths, held, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    index, pixels = raw_pixels(InMemoryImages(held), side)
    from_files = raw_pixels(StreamedImages(paths, workers=0), side)
    assert index.tolist() == from_files[0].tolist() == list(range(5))
    assert pixels.shape == (5, 3, expected, expected)
    # The same bytes, but where both resize: once with Pillow, once with torch
    assert (pixels.int() - from_files[1].int()).abs().max() <= (2 if side > expected else 0)


def test_large_images_are_averaged():
    held = images(3, 64)
    _, pixels = raw_pixels(InMemoryImages(held), 64)
    means = [one.float().mean((1, 2, 3)) for one in (held, pixels)]
    assert (means[0] - means[1]).abs().max() <= 5 * 74 / (3 * 64 * 64) ** 0.5  # 74: the spread of uniform bytes


def test_files_that_are_skipped_are_left_out(tmp_path):
    for number in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    paths[1].write_bytes(b"no image")
    assert raw_pixels(StreamedImages(paths, workers=0, skip_unreadable=True), 8)[0].tolist() == [0, 2]
    assert raw_pixels(StreamedImages(paths[1:2], workers=0, skip_unreadable=True), 8)[1].shape == (0, 3, 8, 8)
