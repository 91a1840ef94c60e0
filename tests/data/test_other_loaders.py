"""Loaders of the data sets that serve as other images, each on a small data set in the genuine format."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import SVHN, Places365

from vje_ppl.data.image_set import StreamedImages
from vje_ppl.data.loaders.dtd import dtd
from vje_ppl.data.loaders.mnist import mnist
from vje_ppl.data.loaders.places365 import places365
from vje_ppl.data.loaders.svhn import svhn
from vje_ppl.data.loaders.tiny_imagenet import tiny_imagenet
from vje_ppl.errors import UserError


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_image(path, size, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 0, 255 - shade)).save(path, quality=95)


def test_mnist_is_read_from_its_files(tmp_path, write_idx):
    written = write_idx(tmp_path / "MNIST" / "raw", True)
    data = mnist(str(tmp_path), subset=5)
    assert (data.name, data.channels, data.image_size, data.num_classes) == ("mnist", 1, 28, 10)
    assert len(data.train) == 5
    assert np.array_equal(data.test.images.numpy()[:, 0], written["t10k"][0])
    assert data.test.labels.tolist() == written["t10k"][1].tolist()
    with pytest.raises(UserError, match=r"data=mnist expects the folder .*nowhere/MNIST/raw"):
        mnist(str(tmp_path / "nowhere"))


@pytest.fixture
def written_svhn(tmp_path, monkeypatch):
    """SVHN's files of MATLAB with random images; the digit zero has the label 10 there."""
    rng, arrays, splits = np.random.default_rng(0), {}, dict(SVHN.split_list)
    (tmp_path / "svhn").mkdir()
    for split, count in (("train", 7), ("test", 4)):
        pixels = rng.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = rng.integers(1, 11, (count, 1), dtype=np.uint8)
        path = tmp_path / "svhn" / f"{split}_32x32.mat"
        savemat(path, {"X": pixels, "y": labels})
        splits[split] = [splits[split][0], path.name, md5(path)]
        arrays[split] = pixels.transpose(3, 2, 0, 1), labels[:, 0] % 10
    monkeypatch.setattr(SVHN, "split_list", splits)
    return arrays


def test_svhn_is_read_as_its_files_say(tmp_path, written_svhn):
    data = svhn(str(tmp_path))
    assert (data.channels, data.image_size, data.num_classes) == (3, 32, 10)
    for images, split in ((data.train, "train"), (data.test, "test")):
        assert np.array_equal(images.images.numpy(), written_svhn[split][0])
        assert images.labels.tolist() == written_svhn[split][1].tolist()
        assert images.images.is_contiguous()
    several = svhn(str(tmp_path), only_class=written_svhn["train"][1][:2].tolist())
    assert set(several.train.labels.tolist()) == set(written_svhn["train"][1][:2].tolist())


def test_missing_and_damaged_svhn(tmp_path, written_svhn):
    with pytest.raises(UserError, match=r"data=svhn expects the folder .*nowhere/svhn.*data.download=true"):
        svhn(str(tmp_path / "nowhere"))
    (tmp_path / "svhn" / "test_32x32.mat").write_bytes(b"MATLAB")
    with pytest.raises(UserError, match=r"the files of svhn in .* are incomplete or damaged"):
        svhn(str(tmp_path))


@pytest.fixture
def written_dtd(tmp_path):
    """DTD's folders, with a file in each list."""
    folder = tmp_path / "dtd" / "dtd"
    (folder / "labels").mkdir(parents=True)
    for place, split in enumerate(("train", "val", "test")):
        names = [f"{texture}/{texture}_{place}.jpg" for texture in ("banded", "woven")]
        (folder / "labels" / f"{split}1.txt").write_text("\n".join(names) + "\n")
        for shade, name in enumerate(names):
            write_image(folder / "images" / name, (40, 30), 50 * (2 * place + shade))
    return folder


def test_dtd_trains_on_two_of_its_lists(tmp_path, written_dtd):
    data = dtd(str(tmp_path), image_size=16)
    assert (data.channels, data.image_size, data.num_classes) == (3, 16, 2)
    assert isinstance(data.train, StreamedImages)
    assert [path.rpartition("/")[2] for path in data.train.files] == [
        "banded_0.jpg",
        "banded_1.jpg",
        "woven_0.jpg",
        "woven_1.jpg",
    ]
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert [path.rpartition("/")[2] for path in data.test.files] == ["banded_2.jpg", "woven_2.jpg"]
    assert data.test.classes == ("banded", "woven")


def test_a_listed_file_that_is_missing_is_named(tmp_path, written_dtd):
    (written_dtd / "images" / "woven" / "woven_1.jpg").unlink()
    with pytest.raises(UserError, match=r"woven_1.jpg is in the data set's list but does not exist"):
        dtd(str(tmp_path))


@pytest.fixture
def written_places(tmp_path, monkeypatch):
    """The lists of Places365 and a few images, and their checksums."""
    folder = tmp_path / "places365"
    folder.mkdir()
    contents = {
        "categories_places365.txt": "/a/abbey 0\n/b/beach 1\n",
        "places365_val.txt": "Places365_val_00000002.jpg 0\nPlaces365_val_00000001.jpg 1\n",
        "places365_train_standard.txt": "/a/abbey/00000001.jpg 0\n/b/beach/00000001.jpg 1\n",
    }
    for name, content in contents.items():
        (folder / name).write_text(content)
    sums = {name: md5(folder / name) for name in contents}
    lists = {"val": "places365_val.txt", "train-standard": "places365_train_standard.txt"}
    categories = "categories_places365.txt"
    monkeypatch.setattr(Places365, "_CATEGORIES_META", (categories, sums[categories]))
    monkeypatch.setattr(Places365, "_FILE_LIST_META", {split: (name, sums[name]) for split, name in lists.items()})
    for name in ("val_256/Places365_val_00000001.jpg", "val_256/Places365_val_00000002.jpg"):
        write_image(folder / name, (256, 256), 10)
    for name in ("a/abbey/00000001.jpg", "b/beach/00000001.jpg"):
        write_image(folder / "data_256_standard" / name, (256, 256), 90)
    return folder


def test_places365_has_validation_images_alone_or_beside_the_training_images(tmp_path, written_places):
    alone = places365(str(tmp_path), image_size=32)
    assert alone.test is None
    assert [path.rpartition("_")[2] for path in alone.train.files] == ["00000001.jpg", "00000002.jpg"]
    assert alone.train.labels.tolist() == [1, 0]
    whole = places365(str(tmp_path), split="train-standard", image_size=32)
    assert [path.removeprefix(f"{written_places}/data_256_standard") for path in whole.train.files] == [
        "/a/abbey/00000001.jpg",
        "/b/beach/00000001.jpg",
    ]
    assert whole.test.labels.tolist() == [1, 0]
    assert whole.train.classes == ("/a/abbey", "/b/beach")
    with pytest.raises(UserError, match=r"data.split must be one of val, train-standard, got test"):
        places365(str(tmp_path), split="test")


@pytest.fixture
def written_tiny(tmp_path):
    """The archive of Tiny ImageNet with two classes."""
    for number, name in enumerate(("n01443537", "n02056570")):
        for image in range(2):
            write_image(tmp_path / "train" / name / "images" / f"{name}_{image}.JPEG", (64, 64), 60 * number + image)
        (tmp_path / "train" / name / f"{name}_boxes.txt").write_text("")
    rows = ["val_1.JPEG\tn02056570\t0\t32\t44\t62", "val_0.JPEG\tn01443537\t0\t32\t44\t62"]
    for row in rows:
        write_image(tmp_path / "val" / "images" / row.split("\t")[0], (64, 64), 200)
    (tmp_path / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*n01443537_boxes.txt.*")
def test_tiny_imagenet_is_tested_on_its_validation_images(written_tiny):
    data = tiny_imagenet(str(written_tiny))
    assert (data.channels, data.image_size, data.num_classes) == (3, 64, 2)
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert data.test.labels.tolist() == [0, 1]
    assert data.test.images.shape == (2, 3, 64, 64)
    assert torch.equal(data.test.images[0], data.test.images[1])


def test_tiny_imagenet_says_what_it_expects(written_tiny):
    table = written_tiny / "val" / "val_annotations.txt"
    table.write_text("val_0.JPEG\tn09999999\t0\n")
    with pytest.raises(UserError, match=r"one of the classes in train, got val_0.JPEG n09999999 0"):
        tiny_imagenet(str(written_tiny))
    table.unlink()
    with pytest.raises(UserError, match=r"expects train/<class>/images.*tiny-imagenet-200.zip"):
        tiny_imagenet(str(written_tiny))
