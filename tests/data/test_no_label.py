"""Null and −1 are no label; what is no class is one sentence; nothing else is dropped."""

from __future__ import annotations

import datetime
import io
import tarfile

import datasets
import numpy as np
import pytest
from PIL import Image

from vje_ppl.data.hold_out import hold_out, stratified_hold_out
from vje_ppl.data.loaders.hf_dataset import hf_dataset
from vje_ppl.data.loaders.left_out import _said
from vje_ppl.data.loaders.webdataset import webdataset
from vje_ppl.errors import UserError

CLASSES = datasets.ClassLabel(names=["ant", "bee"])
INTEGER, FLOAT, TEXT = (datasets.Value(kind) for kind in ("int64", "float32", "string"))


@pytest.fixture(autouse=True)
def _say_again():
    """Lets each test hear what an earlier one was told of data of the same name."""
    _said.cache_clear()


def png(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def table(values, feature):
    cells = [{"bytes": png(seed), "path": None} for seed in range(len(values))]
    features = datasets.Features({"image": datasets.Image(), "kind": feature})
    return datasets.Dataset.from_dict({"image": cells, "kind": values}, features=features)


def opened(root, values, feature, label="kind", test=None):
    parts = {"train": table(values, feature), "test": table(values if test is None else test, feature)}
    datasets.DatasetDict(parts).save_to_disk(str(root / "table"))
    return hf_dataset(str(root / "table"), label=label)


@pytest.mark.parametrize(
    ("values", "feature", "labels", "classes"),
    [
        pytest.param([0, 1, None, -1, 1], CLASSES, [0, 1, -1, -1, 1], ("ant", "bee"), id="class labels"),
        pytest.param([7, 12, None, -1, 7], INTEGER, [0, 1, -1, -1, 0], ("7", "12"), id="integers"),
        pytest.param([0.0, 1.0, None, float("nan"), 1.0], FLOAT, [0, 1, -1, -1, 1], ("0", "1"), id="floats"),
        pytest.param(["x", "y", None, "", "y"], TEXT, [0, 1, -1, -1, 1], ("x", "y"), id="texts"),
        pytest.param(["x", "y", None, "-1", "y"], TEXT, [0, 1, -1, -1, 1], ("x", "y"), id="minus one as text"),
    ],
)
def test_null_and_minus_one_are_no_label(tmp_path, values, feature, labels, classes, caplog):
    data = opened(tmp_path, values, feature)
    assert data.train.labels.tolist() == labels
    assert data.train.classes == data.bank.classes == data.test.classes == classes
    assert (len(data.train), data.num_classes) == (5, 2)
    kept = [label for label in labels if label >= 0]
    assert data.bank.labels.tolist() == data.test.labels.tolist() == kept
    assert data.bank.images.equal(data.train.images[data.train.labels >= 0])
    assert "2 of the 5 training images of table have no label" in caplog.text
    assert "2 of the 5 test images of table have no label" in caplog.text


@pytest.mark.parametrize("feature", [CLASSES, INTEGER])
def test_labels_that_are_all_missing_are_none_at_all(tmp_path, feature):
    data = opened(tmp_path, [-1, None, -1], feature)
    assert data.train.labels is None
    assert (data.bank, data.num_classes, data.test) == (None, None, data.test)


def test_a_split_whose_labels_are_secret_gives_way_to_a_share(tmp_path):
    data = opened(tmp_path, [0, 1, 0, 1, None, 0], CLASSES, test=[-1] * 6)
    assert sorted(data.test.labels.tolist()) == [0, 1]
    assert sorted(data.train.labels.tolist()) == [-1, 0, 0, 1]


@pytest.mark.parametrize(
    ("values", "feature", "row", "shown"),
    [
        pytest.param([0, 1, 0, -2], INTEGER, 3, "-2", id="a number below minus one"),
        pytest.param([0.0, 0.5], FLOAT, 1, "0.5", id="a fraction"),
        pytest.param([0.0, float("inf")], FLOAT, 1, "inf", id="infinity"),
        pytest.param([[0], [0, 1]], datasets.Sequence(INTEGER), 0, r"\[0\]", id="lists"),
        pytest.param([None, [1]], datasets.Sequence(CLASSES), 1, r"\[1\]", id="lists of class labels"),
        pytest.param([{"a": 1}], {"a": INTEGER}, 0, "{'a': 1}", id="mappings"),
        pytest.param([datetime.date(2020, 1, 1)], datasets.Value("date32"), 0, "datetime.date", id="dates"),
    ],
)
def test_what_is_no_class_is_one_sentence_with_column_and_row(tmp_path, values, feature, row, shown):
    with pytest.raises(
        UserError, match=rf"row {row} of the column kind in split train of .* holds {shown}.* not a class"
    ):
        opened(tmp_path, values, feature)


def test_truth_values_are_two_classes(tmp_path):
    data = opened(tmp_path, [True, False, True], datasets.Value("bool"))
    assert (data.train.labels.tolist(), data.train.classes) == ([1, 0, 1], ("False", "True"))


def test_columns_that_are_not_taken_for_labels_are_named(tmp_path, caplog):
    assert opened(tmp_path, [0, 1], INTEGER, label=None).train.labels is None
    assert "has no column of class labels; data.label=<column> takes one of kind" in caplog.text


def shards(root, *texts, ending="cls", **options):
    for name in ("train", "val"):
        with tarfile.open(root / f"{name}.tar", "w") as tar:
            for number, text in enumerate(texts):
                for end, content in (("png", png(number)), (ending, text)):
                    entry = tarfile.TarInfo(f"{number}.{end}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
    return webdataset(str(root), label=ending, **options)


@pytest.mark.parametrize(
    ("texts", "ending", "labels", "classes"),
    [
        pytest.param([b"10", b"-1", b"9", b" "], "cls", [1, -1, 0, -1], ("9", "10"), id="numbers"),
        pytest.param([b"cat", b"", b"-1\n", "Bär".encode()], "cls", [1, -1, -1, 0], ("Bär", "cat"), id="names"),
        pytest.param([b"3", b"null", b"-1", b"12"], "json", [0, -1, -1, 1], ("3", "12"), id="JSON numbers"),
        pytest.param([b'"cat"', b"null", b'""', b'"dog"'], "json", [0, -1, -1, 1], ("cat", "dog"), id="JSON names"),
    ],
)
def test_labels_of_shards_may_be_missing(tmp_path, texts, ending, labels, classes, caplog):
    data = shards(tmp_path, *texts, ending=ending)
    assert (data.train.labels.tolist(), data.train.classes) == (labels, classes)
    assert data.bank.labels.tolist() == data.test.labels.tolist() == [label for label in labels if label >= 0]
    assert "2 of the 4 training images" in caplog.text


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        pytest.param(b'{"label": 3}', "json", id="a mapping"),
        pytest.param(b"[1, 2]", "json", id="a list"),
        pytest.param(b"{", "json", id="no JSON"),
        pytest.param(b"0.25", "json", id="a fraction"),
        pytest.param(b"\xff\x00\x03", "cls", id="bytes"),
        pytest.param(b"\x01\x00\x00\x00", "cls", id="a binary number"),
    ],
)
def test_text_of_shards_that_is_no_class_is_one_sentence(tmp_path, text, ending):
    with pytest.raises(
        UserError, match=rf"the file ending in \.{ending} that belongs to .*0\.png .* which is not a class"
    ):
        shards(tmp_path, text, ending=ending)


def test_what_has_no_label_is_never_held_out():
    labels = np.array([0, -1, 1, 0, -1, 1, -1])
    kept, held_out = stratified_hold_out(labels, 0.4)
    assert sorted(labels[held_out]) == [0, 1]
    assert sorted(labels[kept]) == [-1, -1, -1, 0, 1]


def test_a_hold_out_of_partly_labelled_images_is_refused(tmp_path):
    data = opened(tmp_path, [0, 1, None, 0, 1], CLASSES)
    with pytest.raises(UserError, match="needs labels for all training images"):
        hold_out(data, 0.5)
