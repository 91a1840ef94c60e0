"""The four rotations of an image as images of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from tests.helpers.cases import composed
from vje_ppl.data.augment import Augment
from vje_ppl.data.batches import evaluation_batches, evaluation_views
from vje_ppl.data.image_set import InMemoryImages, StreamedImages
from vje_ppl.data.rotations import mean_over_rotations, with_rotations
from vje_ppl.errors import UserError
from vje_ppl.features.extract import raw_pixels
from vje_ppl.settings.build import build_augment
from vje_ppl.settings.data import load_data
from vje_ppl.settings.identity import config_digest

CPU = torch.device("cpu")


@pytest.fixture
def pixels():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8))


@pytest.fixture
def files(pixels, tmp_path):
    for number, image in enumerate(pixels):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    return StreamedImages(sorted(tmp_path.iterdir()), torch.tensor([2, 0, 1]), ("a", "b", "c"), workers=0)


@pytest.fixture
def augment() -> Augment:
    return build_augment(composed("augment=image_folder"), 3, 16)


def test_rotations_follow_their_image(pixels):
    before = pixels.clone()
    turned = with_rotations(InMemoryImages(pixels, torch.tensor([2, 0, 1])))
    expected = [np.rot90(image.numpy(), turn, (1, 2)) for image in pixels for turn in range(4)]
    assert np.array_equal(turned.images.numpy(), np.stack(expected))
    assert turned.labels.tolist() == [2] * 4 + [0] * 4 + [1] * 4
    assert torch.equal(pixels, before)


def test_files_are_turned_as_images_in_memory(pixels, files, augment):
    of_files, in_memory = with_rotations(files), with_rotations(InMemoryImages(pixels))
    for read in (
        lambda images: next(evaluation_batches(images, augment.evaluation, batch_size=12, device=CPU))[1],
        lambda images: next(evaluation_views(images, augment, views=1, seed=0, device=CPU))[1][0],
        lambda images: raw_pixels(images, 16)[1],
    ):
        torch.testing.assert_close(read(of_files), read(in_memory))
    assert len(with_rotations(files).files) == 12
    assert files.turns is None
    assert of_files.select(np.array([7, 1])).turns.tolist() == [3, 1]


def test_random_boxes_of_files_are_turned(files, augment):
    """With the same box, a view of the image turned by 90° is the view of the image, turned."""

    class SameBox(Augment):
        def draw_boxes(self, rng, count, height, width):
            return np.tile([[2.0, 2.0, 9.0, 9.0]], (count, 1))

        def finish(self, pixels, key):
            return self.evaluation.finish(pixels)

    augment.__class__ = SameBox
    views = next(evaluation_views(with_rotations(files), augment, views=2, seed=0, device=CPU))[1]
    assert not torch.equal(views[1], views[0])
    for turn in range(4):
        torch.testing.assert_close(views[1][turn::4], torch.rot90(views[1][::4], turn, (2, 3)))


def test_images_in_memory_must_be_square(pixels):
    with pytest.raises(UserError, match="rotations=true expects square images in memory, got 16×12"):
        with_rotations(InMemoryImages(pixels[..., :12].contiguous()))


def test_means_are_over_the_rotations_of_an_image():
    assert mean_over_rotations(np.array([1.0, 2.0, 3.0, 6.0, 0.0, 0.0, np.nan, 4.0])).tolist()[0] == 3.0
    assert np.isnan(mean_over_rotations(np.array([0.0, 0.0, np.nan, 4.0]))).all()


def test_the_option_names_a_run_only_where_it_is_set():
    data = [load_data(composed(*overrides)) for overrides in ((), ("rotations=true",))]
    assert [one.rotations for one in data] == [False, True]
    assert len(data[0].train) == len(data[1].train)  # turned only to train and to score
    plain, turned = (OmegaConf.to_container(composed(*one), resolve=True) for one in ((), ("rotations=true",)))
    earlier = {key: value for key, value in plain.items() if key != "rotations"}
    assert config_digest(plain) == config_digest(earlier) != config_digest(turned)
