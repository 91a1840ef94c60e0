import logging

import numpy as np
import pytest
import torch
from PIL import Image

from vje_ppl.data import InMemoryImages, StreamedImages
from vje_ppl.data.loaders.image_folder import image_folder
from vje_ppl.errors import UserError


@pytest.fixture
def fill(tmp_path, write_image):
    """Fills folders below the root with images, numbered on; returns the root."""

    def write(*folders, count=10, height=32, width=32, extension="jpg"):
        for seed, folder in enumerate(folders):
            for number in range(count):
                path = tmp_path / folder / f"{number:03}.{extension}"
                write_image(path, height, width, seed=1000 * seed + number)
        return str(tmp_path)

    return write


def test_flat_folder_is_unlabelled(fill):
    data = image_folder(fill("."))
    assert len(data.train) == 10
    assert data.train.labels is None
    assert data.bank is None
    assert data.test is None
    assert data.num_classes is None
    assert (data.channels, data.image_size) == (3, 32)


def test_single_subfolder_is_no_labelling(fill):
    data = image_folder(fill("photos/2024"))
    assert len(data.train) == 10
    assert data.num_classes is None


def test_class_folders_are_labels_and_a_share_is_held_out(fill):
    root = fill("dog", "cat", "ant/small")
    data = image_folder(root, test_fraction=0.2)
    assert data.train.classes == data.test.classes == ("ant", "cat", "dog")
    assert (data.train.labels.bincount() + data.test.labels.bincount()).tolist() == [10, 10, 10]
    assert data.test.labels.bincount().tolist() == [4, 1, 2]  # about a fifth: an image's name alone decides
    assert data.bank is data.train
    assert data.num_classes == 3
    again = image_folder(root, test_fraction=0.2)
    assert torch.equal(data.test.images, again.test.images)


def test_images_are_what_the_files_hold(fill, tmp_path):
    data = image_folder(fill("a", "b"), test_fraction=0.1)
    held = {bytes(image.numpy()) for images in (data.train, data.test) for image in images.images}
    files = sorted(tmp_path.glob("*/*.jpg"))
    stored = {bytes(np.ascontiguousarray(np.asarray(Image.open(path)).transpose(2, 0, 1))) for path in files}
    assert held == stored
    assert len(held) == 20


@pytest.mark.parametrize("test_folder", ["test", "val"])
def test_train_and_test_folders_are_used_as_they_are(fill, test_folder):
    data = image_folder(fill("train/a", "train/b", "train/c", f"{test_folder}/a", f"{test_folder}/c"))
    assert data.train.labels.bincount().tolist() == [10, 10, 10]
    assert data.test.labels.bincount(minlength=3).tolist() == [10, 0, 10]
    assert data.test.classes == ("a", "b", "c")


def test_train_folder_alone_is_split(fill):
    data = image_folder(fill("train/a", "train/b"))
    assert data.train.labels.bincount().tolist() == [9, 9]
    assert data.test.labels.bincount().tolist() == [1, 1]


@pytest.mark.parametrize("labelled", ["train", "test"])
def test_labels_on_one_side_only(fill, labelled):
    other = {"train": "test", "test": "train"}[labelled]
    data = image_folder(fill(f"{labelled}/a", f"{labelled}/b", other))
    assert data.test.labels is None
    assert (data.train.labels is None) == (labelled == "test")
    assert (data.bank is None) == (labelled == "test")


def test_class_named_train_among_others_is_a_class(fill):
    assert image_folder(fill("train", "bus", "ship")).train.classes == ("bus", "ship", "train")


def test_what_is_no_image_is_passed_over(fill, tmp_path):
    root = fill("a", "b")
    for name in ("a/notes.txt", ".hidden/0.jpg", "__MACOSX/a/0.jpg", "a/._000.jpg", "empty/readme"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    data = image_folder(root)
    assert len(data.train) + len(data.test) == 20
    assert data.train.classes == ("a", "b")


def test_subset_is_fixed(fill):
    root = fill("a", "b")
    data = image_folder(root, subset=7)
    assert len(data.train) == 7
    assert torch.equal(data.train.images, image_folder(root, subset=7).train.images)
    with pytest.raises(UserError, match=r"data.subset expects 1 to 18, the number of training images, got 19"):
        image_folder(root, subset=19)


@pytest.mark.parametrize(
    ("height", "width", "kind", "size"),
    [
        pytest.param(96, 80, InMemoryImages, 80, id="small"),
        pytest.param(97, 80, StreamedImages, 80, id="one side too large"),
        pytest.param(230, 300, StreamedImages, 224, id="large"),
    ],
)
def test_small_images_are_held_in_memory_and_others_streamed(fill, height, width, kind, size):
    data = image_folder(fill("a", "b", count=3, height=height, width=width), workers=5, on_error="skip")
    assert type(data.train) is type(data.test) is kind
    assert data.image_size == size
    if kind is StreamedImages:
        assert (data.train.workers, data.train.skip_unreadable) == (5, True)


def test_images_of_several_sizes_are_streamed(fill, tmp_path, write_image):
    root = fill(".")
    write_image(tmp_path / "999.jpg", 32, 33)
    data = image_folder(root)
    assert isinstance(data.train, StreamedImages)
    assert data.image_size == 32


def test_images_beyond_the_memory_allowed_are_streamed(fill):
    root = fill(".")  # 10 images of 3 x 32 x 32 bytes take 0.03072 MB
    assert isinstance(image_folder(root, memory_mb=0.0308).train, InMemoryImages)
    assert isinstance(image_folder(root, memory_mb=0.0307).train, StreamedImages)


def test_size_and_channels_can_be_chosen(fill):
    data = image_folder(fill("."), image_size=24, channels=1)
    assert data.image_size == 24
    assert data.channels == data.train.channels == 1
    assert data.train.images.shape == (10, 1, 32, 32)


def test_truncated_file_is_named_or_skipped(fill, tmp_path, caplog):
    root = fill("a", "b")
    for name in ("a/003.jpg", "b/004.jpg", "b/005.jpg", "b/006.jpg"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"the image .*\.jpg cannot be read .*truncated.*set data.on_error=skip"):
        image_folder(root)
    with caplog.at_level(logging.WARNING):
        data = image_folder(root, on_error="skip", test_fraction=0.05)
    # One of each class is held out, broken or not.
    assert len(data.train) + len(data.test) == 16
    assert len(data.train) == len(data.train.labels) == len(data.train.images)
    assert not {bytes(image.numpy()) for image in data.train.images} & {bytes(3 * 32 * 32)}
    counts = [int(record.args[0]) for record in caplog.records]
    assert sum(counts) == 4
    assert "a/003.jpg" in caplog.text


def test_first_image_may_be_the_broken_one(fill, tmp_path):
    root = fill(".")
    (tmp_path / "000.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"000.jpg cannot be read"):
        image_folder(root)
    assert len(image_folder(root, on_error="skip").train) == 9
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="none of the 10 image files can be read"):
        image_folder(root, on_error="skip")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"on_error": "ignore"}, "data.on_error must be raise or skip, got ignore", id="on_error"),
        pytest.param({"channels": 4}, r"data.channels must be 1 \(grey\) or 3 \(RGB\), got 4", id="channels"),
        pytest.param({"test_fraction": 1.0}, "data.test_fraction must lie between 0 and 1", id="fraction"),
        pytest.param({"image_size": 0}, "data.image_size must be at least 1 pixel, got 0", id="size"),
    ],
)
def test_impossible_options_are_refused(fill, options, message):
    with pytest.raises(UserError, match=message):
        image_folder(fill("a", "b"), **options)


def test_folder_without_images_says_what_was_expected(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(UserError, match=rf"no image was found in {tmp_path}; expected files ending in .*\.jpg"):
        image_folder(str(tmp_path))


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=f"the folder {tmp_path / 'nowhere'}, which does not exist"):
        image_folder(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"give data.root=<folder>"):
        image_folder(None)


def test_images_beside_class_folders_are_ambiguous(fill):
    with pytest.raises(UserError, match="images of its own and in its subfolder a"):
        image_folder(fill(".", "a"))


def test_unknown_test_class_is_named(fill, tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path / 'test'} holds the class c, which the training images lack"):
        image_folder(fill("train/a", "train/b", "test/a", "test/c"))


@pytest.mark.parametrize("memory_mb", [512.0, 0.0], ids=["in memory", "from files"])
def test_an_image_stays_on_its_side_when_others_come(fill, write_image, tmp_path, memory_mb):
    root = fill("a", "b", "c", count=12)
    few = image_folder(root, test_fraction=0.3, memory_mb=memory_mb)
    for number in range(20):
        for name in ("a/0-new", "b/zz-new", "c/more/new"):
            write_image(tmp_path / f"{name}-{number}.jpg", seed=number)
    many = image_folder(root, test_fraction=0.3, memory_mb=memory_mb)
    for part in ("train", "test"):
        before, after = (set(map(str, getattr(data, part).files)) for data in (few, many))
        assert before < after
    assert len(many.train) + len(many.test) == 96


def test_sides_are_the_same_wherever_the_folder_lies(fill, tmp_path):
    data = image_folder(fill("here/a", "here/b") + "/here", test_fraction=0.3)
    (tmp_path / "here").rename(tmp_path / "there")
    moved = image_folder(str(tmp_path / "there"), test_fraction=0.3)
    assert torch.equal(moved.train.images, data.train.images)
    assert torch.equal(moved.test.images, data.test.images)
    assert np.array_equal(moved.train.keys, data.train.keys)


def test_training_images_of_one_class_among_test_images_of_several(fill):
    data = image_folder(fill("train/good", "test/good", "test/broken", "test/bent", "ground_truth/bent", count=3))
    assert data.train.labels.tolist() == [2] * 3
    assert data.test.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert data.train.classes == data.test.classes == ("bent", "broken", "good")
    assert data.bank is None  # nothing to be told from
    assert data.only_class == "good"
    assert data.class_names == "3: bent, broken, good; learns from good alone"
    assert data.notes == ("learns from train and tests on test; not used: ground_truth",)


def test_single_folders_of_other_names_are_no_classes(fill):
    data = image_folder(fill("train/2023", "test/2024"))
    assert data.train.labels is None
    assert data.test.labels is None


def test_test_images_come_from_the_first_folder_with_labels(fill, tmp_path, write_image):
    root = fill("train/a", "train/b", "test", "validation/a", "validation/b", count=2)
    write_image(tmp_path / "preview.jpg")
    data = image_folder(root)
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    assert data.notes == (
        "learns from train and tests on validation; not used: test, 1 images outside of folders, preview.jpg first",
    )


def test_what_is_not_tested_is_said(fill):
    assert image_folder(fill("train/a", "train/b", "train/c", "test/b", count=2)).notes[1:] == (
        "2 of the classes without test images: a, c",
    )
    assert "no labels" in image_folder(fill("mixed/train", "mixed/test/a", "mixed/test/b") + "/mixed").notes[1]
