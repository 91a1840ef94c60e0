"""Which folders are training and test images, and which are classes."""

import pytest

from vje_ppl.data.loaders.scan import folders_with_images
from vje_ppl.data.loaders.splits import find_splits, split_word
from vje_ppl.errors import UserError


@pytest.fixture
def splits(tmp_path):
    """Makes folders with a file that is called an image, and says which of them are what."""

    def find(*folders):
        for folder in folders:
            (tmp_path / folder).mkdir(parents=True)
            (tmp_path / folder / "0.jpg").touch()
        (tmp_path / "notes").mkdir()  # without images
        return find_splits(tmp_path, folders_with_images(tmp_path))

    return find


LAYOUTS = [
    (["train/a", "train/b", "test/a", "annotations"], "train", ["test"], ["annotations"]),
    (["Training/a", "Testing/a"], "Training", ["Testing"], []),
    (["train/a", "test/a", "unlabeled"], "train", ["test"], ["unlabeled"]),
    (["train/a", "valid/a", "test/a"], "train", ["test", "valid"], []),
    (["TRAIN/a", "Validation/a"], "TRAIN", ["Validation"], []),
    (["training_set/a", "test_set/a"], "training_set", ["test_set"], []),
    (["trainset/a", "valset/a"], "trainset", ["valset"], []),
    (["seg_train/a", "seg_test/a", "seg_pred"], "seg_train", ["seg_test"], ["seg_pred"]),
    (["train2017", "val2017"], "train2017", ["val2017"], []),
    (["trainImages", "TestImages"], "trainImages", ["TestImages"], []),
    (["train/a"], "train", [], []),
    (["train", "Unlabeled"], "train", [], ["Unlabeled"]),
    (["train/good", "test/good", "test/bad", "ground_truth/bad"], "train", ["test"], ["ground_truth"]),
]


@pytest.mark.parametrize(("folders", "train", "tests", "beside"), LAYOUTS, ids=lambda one: " ".join(one))
def test_split_folders_are_found_however_spelled(splits, folders, train, tests, beside):
    found = splits(*folders)
    assert found.train.name == train
    assert [one.name for one in found.tests] == tests
    assert found.beside == tuple(sorted([*beside, "notes"]))


@pytest.mark.parametrize(
    "folders",
    [
        ["train", "bus", "ship"],
        ["bus", "test"],
        ["cat", "dog"],
        ["photos"],
        ["bullet train", "test tube", "bus"],
        ["1"],
    ],
    ids=" ".join,
)
def test_classes_are_no_splits(splits, folders):
    assert splits(*folders) is None


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (["Train/a", "train/a", "test/a"], "both Train and train"),
        (["train2014", "train2017", "val2017"], "both train2014 and train2017"),
        (["train/a", "test/a", "Testing/a"], "both (test and Testing|Testing and test)"),
        (["train/a", "training/b"], "both train and training"),
        (["dogs_train", "dogs_test", "cats_train", "cats_test"], "both cats_train and dogs_train"),
        (["test/a", "test/b"], "no training images; .* give data.root=.*/test to train on the images there"),
        (["val/a", "test/a"], "no training images"),
        (["train/a", "my_test/a"], "in train and perhaps test images in my_test"),
        (["cat/train", "cat/test", "dog/train", "dog/test"], "cat contains the folders train and test"),
        (
            ["data/Training/a", "data/Testing/a"],
            "data contains the folders Training and Testing, .* give data.root=.*/data",
        ),
        (["train/a", "train/b", "bus"], "may be a class or the training images"),
        (["cat", "dog", "test/cat", "test/dog"], "may be a class or the test images"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_what_could_be_read_in_several_ways_is_refused(splits, folders, said):
    with pytest.raises(UserError, match=said):
        splits(*folders)


def test_words_inside_of_others_say_nothing():
    for name in ("valley", "contest", "restrain", "latest", "trainer", "retest", "train_test"):
        assert split_word(name)[0] is None, name
