"""Training on one class alone, in every labelled data set."""

import numpy as np
import pytest
import torch
from PIL import Image

from vje_ppl.data import InMemoryImages
from vje_ppl.data.loaders.digits import digits
from vje_ppl.data.loaders.image_folder import image_folder
from vje_ppl.data.loaders.imagenet import imagenet
from vje_ppl.data.loaders.sample_photos import sample_photos
from vje_ppl.data.loaders.stl10 import stl10
from vje_ppl.data.selection import class_index, select_class
from vje_ppl.errors import UserError

CLASSES = ("cat", "dog", "7", "0")


@pytest.mark.parametrize(
    ("wanted", "index"), [("dog", 1), (1, 1), ("1", 1), ("7", 2), (7, 2), (0, 3), ("0", 3), (3, 3), ("2", 2)]
)
def test_a_class_has_a_name_before_it_has_a_number(wanted, index):
    assert class_index(CLASSES, wanted) == index


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("dgo", "got dgo; did you mean dog?"),
        (4, "from 0 to 3, got 4; they are cat, dog, 7, 0."),
        (-1, "got -1"),
        ("1.5", "got 1.5"),
        ("", "the 4 classes"),
    ],
)
def test_a_class_that_is_not_there(wanted, said):
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        class_index(CLASSES, wanted)


def test_only_its_images_are_kept_in_order():
    labels = torch.tensor([1, 0, 1, 3, 1])
    images = InMemoryImages(torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1), labels, CLASSES)
    kept = select_class(images, "dog")
    assert kept.images.flatten().tolist() == [0, 2, 4]
    assert kept.labels.tolist() == [1, 1, 1]
    assert select_class(images, None) is images
    with pytest.raises(UserError, match="leaves none of the 5"):
        select_class(images, "7")
    with pytest.raises(UserError, match="have no labels"):
        select_class(InMemoryImages(images.images), 1)


def test_images_of_several_classes_are_kept_in_order():
    labels = torch.tensor([1, 0, 1, 3, 1])
    images = InMemoryImages(torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1), labels, CLASSES)
    assert select_class(images, ["dog", 3]).images.flatten().tolist() == [0, 2, 3, 4]
    assert select_class(images, []) is images
    with pytest.raises(UserError, match=r"data.only_class=\[7\] leaves none of the 5"):
        select_class(images, ["7"])
    with pytest.raises(UserError, match="got dgo; did you mean dog"):
        select_class(images, ["cat", "dgo"])


def test_digits_of_two_classes_are_tested_on_all():
    every, two = digits(), digits(only_class=[3, "8"])
    assert two.train.labels.unique().tolist() == [3, 8]
    assert torch.equal(two.test.images, every.test.images)
    assert two.only_class is None
    assert two.training_classes == ("3", "8")
    assert two.class_names.endswith("learns from 3, 8 alone")


def test_digits_of_one_class_are_tested_on_all():
    every, threes = digits(), digits(only_class=3)
    assert threes.train.labels.unique().tolist() == [3]
    assert len(threes.train) == int((every.train.labels == 3).sum())
    assert torch.equal(threes.test.images, every.test.images)
    assert torch.equal(threes.bank.images, every.bank.images)
    assert threes.num_classes == 10


def test_the_subset_is_chosen_first():
    few = digits(subset=100)
    assert len(digits(subset=100, only_class="3").train) == int((few.train.labels == 3).sum())


@pytest.fixture
def folders(tmp_path):
    for split, count in (("train", 3), ("val", 1)):
        for name in ("ape", "bee"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(np.full((8, 8, 3), 10 * number, np.uint8)).save(
                    tmp_path / split / name / f"{number}.JPEG"
                )
    return str(tmp_path)


@pytest.mark.parametrize(
    "load",
    [imagenet, image_folder, lambda root, **options: image_folder(root, memory_mb=0.0, **options)],
    ids=["imagenet", "image-folder", "image-folder-from-files"],
)
def test_image_files_of_one_class(folders, load):
    data = load(folders, only_class="bee")
    assert data.train.labels.tolist() == [1, 1, 1]
    assert sorted(data.bank.labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert data.test.labels.tolist() == [0, 1]


def test_unlabelled_images_have_no_class(tmp_path):
    for number in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    with pytest.raises(UserError, match="no labels"):
        image_folder(str(tmp_path), only_class="bee")


def test_stl10_says_which_split_has_labels(monkeypatch):
    images = InMemoryImages(torch.zeros(2, 3, 96, 96, dtype=torch.uint8))
    monkeypatch.setattr("vje_ppl.data.loaders.stl10.read_or_download", lambda *_, **__: (images, images, images))
    with pytest.raises(UserError, match=r"data\.train_split=train"):
        stl10("anywhere", only_class="ship")


def test_sample_photos_need_no_download():
    data = sample_photos()
    assert data.train.images.shape == data.test.images.shape == (260, 3, 32, 32)
    assert data.train.classes == ("china", "flower")
    assert data.test.labels.bincount().tolist() == [130, 130]
    patches = torch.cat([data.train.images, data.test.images]).flatten(1)
    assert len(patches.unique(dim=0)) > 500  # the two parts share no patch
    assert len(sample_photos(only_class="flower", subset=100).train) < 100
