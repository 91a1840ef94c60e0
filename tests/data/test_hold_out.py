"""Test images out of the training set."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from tests.helpers.cases import composed
from vje_ppl.data.hold_out import hold_out
from vje_ppl.data.image_set import ImageData, InMemoryImages
from vje_ppl.data.loaders.digits import digits
from vje_ppl.errors import UserError
from vje_ppl.settings.data import load_data


def rows(images: InMemoryImages) -> set[bytes]:
    return {image.numpy().tobytes() for image in images.images}


def test_held_out_images_are_none_that_are_trained_on_nor_test_images():
    whole, split = digits(), load_data(composed("hold_out=0.25"))
    assert len(split.train) + len(split.test) == len(whole.train)
    assert split.bank is split.train
    assert len(rows(whole.train)) == len(whole.train)  # no digit is there twice
    assert rows(split.train) | rows(split.test) == rows(whole.train)
    assert not rows(split.test) & rows(split.train)
    assert not rows(split.test) & rows(whole.test)


def test_each_class_gives_the_same_share():
    whole, split = digits(), hold_out(digits(), 0.25)
    share = split.test.labels.bincount() / whole.train.labels.bincount()
    assert (share - 0.25).abs().max() < 0.5 / whole.train.labels.bincount().min() + 1e-6


def test_none_is_held_out_by_default():
    assert torch.equal(load_data(composed()).test.images, digits().test.images)


def test_a_class_is_chosen_after_the_split():
    of_all, of_one = load_data(composed("hold_out=0.25")), load_data(composed("hold_out=0.25", "data.only_class=3"))
    assert torch.equal(of_one.test.images, of_all.test.images)
    assert torch.equal(of_one.train.images, of_all.train.images[of_all.train.labels == 3])


@pytest.mark.parametrize("fraction", [1, -0.1, 1.5, True, "half"])
def test_a_share_that_is_none_gets_a_sentence(fraction):
    with pytest.raises(UserError, match=f"hold_out expects a share .* got {fraction}"):
        load_data(composed(f"hold_out={fraction}"))


def test_images_without_labels_get_a_sentence():
    images = InMemoryImages(torch.zeros(4, 1, 2, 2, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"hold_out=0\.5 needs labels to split by, but the images of mine have none"):
        hold_out(ImageData("mine", images, None, None, 1, 2, None), 0.5)
    labelled = InMemoryImages(images.images, torch.tensor([0, 0, 1, 1]), ("a", "b"))
    with pytest.raises(UserError, match="needs labels for all training images"):
        hold_out(ImageData("mine", images, labelled, None, 1, 2, 2), 0.5)


def test_images_with_names_stay_on_their_side_when_others_come(tmp_path):
    def load():
        return load_data(composed("data=image_folder", f"data.root={tmp_path}", "hold_out=0.4"))

    def add(first):
        for name in ("a", "b"):
            (tmp_path / name).mkdir(exist_ok=True)
            for number in range(first, first + 15):
                Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / name / f"{number}.png")

    add(0)
    few = load()
    assert len(few.train) + len(few.test) < 30  # the rest is held out by the loader, and is no part of this
    add(15)
    many = load()
    for part in ("train", "test"):
        assert set(map(str, getattr(few, part).files)) < set(map(str, getattr(many, part).files))


def test_a_single_class_gets_a_sentence():
    images = InMemoryImages(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64), ("a", "b"))
    with pytest.raises(UserError, match="needs training images of several classes, but mine has only one"):
        hold_out(ImageData("mine", images, None, None, 1, 2, 2), 0.5)
