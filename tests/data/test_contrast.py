"""A data set in which there is nothing to see is named as such."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from vje_ppl.data import InMemoryImages, StreamedImages
from vje_ppl.data.contrast import contrast_warning


def images(kind, tmp_path, pixels):
    """The same images, [N, H, W], in memory or in files."""
    if kind == "memory":
        return InMemoryImages(torch.from_numpy(pixels[:, None]))
    paths = []
    for number, values in enumerate(pixels):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(values).save(paths[-1])
    return StreamedImages(paths, channels=1)


def noise(count, levels, seed=0):
    return np.random.default_rng(seed).integers(0, levels, (count, 32, 32), dtype=np.uint8)


KINDS = pytest.mark.parametrize("kind", ["memory", "files"])


@KINDS
@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        pytest.param(noise(40, 256), None, id="images"),
        pytest.param(noise(40, 17), None, id="just enough"),
        pytest.param(noise(40, 16), "16 of 16 training images that were looked at are nearly constant", id="12 bits"),
        pytest.param(noise(40, 1), "with values from 0 to 0 of 255", id="black"),
        pytest.param(noise(40, 1) + 255, "with values from 255 to 255 of 255", id="white"),
        pytest.param(np.concatenate([noise(4, 1), noise(3, 256)]), "4 of 7 training images", id="more than half"),
        pytest.param(np.concatenate([noise(4, 1), noise(4, 256)]), None, id="half"),
        pytest.param(np.repeat(noise(1, 256), 40, 0), "the 16 .* are nearly the same", id="one image"),
        pytest.param(noise(1, 256), None, id="a single one"),
    ],
)
def test_images_without_contrast_are_named(tmp_path, make_recipe, kind, pixels, told):
    recipe = make_recipe(channels=1, image_size=32, size=32)
    warning = contrast_warning(images(kind, tmp_path, pixels), recipe.evaluation)
    if told is None:
        assert warning is None
    else:
        assert re.search(told, warning)


def test_plain_colours_are_constant_and_unreadable_files_are_not_looked_at(tmp_path, make_recipe):
    red = np.zeros((32, 32, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    for number in range(3):
        Image.fromarray(red).save(tmp_path / f"{number}.png")
    (tmp_path / "0.png").write_bytes(b"broken")
    files = StreamedImages(sorted(tmp_path.iterdir()))
    warning = contrast_warning(files, make_recipe(size=32).evaluation)
    assert warning.startswith(
        f"2 of 2 training images that were looked at are nearly constant, such as {tmp_path}/1.png"
    )
