"""Shards and tables are read as the folders are that they were made of: image by image, in every process."""

from __future__ import annotations

import io
import pickle
import tarfile

import datasets
import numpy as np
import pytest
import torch
import webdataset as library

from vje_ppl.benchmark.decoding import write_photographs
from vje_ppl.data import TrainingBatches
from vje_ppl.data.loaders.hf_dataset import hf_dataset
from vje_ppl.data.loaders.imagenet import imagenet
from vje_ppl.data.loaders.webdataset import webdataset
from vje_ppl.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """The same photographs in ImageNet's folders, in shards of five, and in a saved data set."""
    root = tmp_path_factory.mktemp("photographs")
    for split, count in (("train", 12), ("val", 4)):
        write_photographs(root / "folders" / split, count, seed=len(split))
    (root / "shards").mkdir()
    tables = {}
    for split in ("train", "val"):
        paths = sorted((root / "folders" / split).glob("*/*.JPEG"))
        labels = [("china", "flower").index(path.parent.name) for path in paths]
        with library.ShardWriter(str(root / "shards" / f"p-{split}-%03d.tar"), maxcount=5, verbose=0) as shards:
            for path, label in zip(paths, labels, strict=True):
                shards.write({"__key__": path.stem, "jpg": path.read_bytes(), "cls": str(label).encode()})
        features = datasets.Features(
            {"image": datasets.Image(), "label": datasets.ClassLabel(names=["china", "flower"])}
        )
        cells = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
        tables[split] = datasets.Dataset.from_dict({"image": cells, "label": labels}, features=features)
    datasets.DatasetDict(tables).save_to_disk(str(root / "table"))
    return root


def opened(roots, kind, **options):
    load, folder = {"webdataset": (webdataset, "shards"), "hf_dataset": (hf_dataset, "table")}[kind]
    return load(str(roots / folder), **options)


def batches(images, make_recipe, **changes):
    recipe = make_recipe(size=32)
    return TrainingBatches(images, recipe, **({"batch_size": 4, "seed": 0, "device": CPU} | changes))


def assert_equal(first, second):
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.index, other.index)
        assert all(torch.equal(view, twin) for view, twin in zip(one.views, other.views, strict=True))


KINDS = pytest.mark.parametrize("kind", ["webdataset", "hf_dataset"])


@KINDS
def test_views_labels_and_order_are_those_of_the_files(roots, make_recipe, kind):
    files, found = imagenet(str(roots / "folders")), opened(roots, kind, workers=0)
    assert (found.channels, found.image_size, found.num_classes) == (3, 224, 2)
    for name in ("train", "test"):
        assert torch.equal(getattr(found, name).labels, getattr(files, name).labels)
    assert found.bank is found.train
    whole = list(batches(files.train, make_recipe).epoch(1))
    assert_equal(whole, list(batches(found.train, make_recipe).epoch(1)))
    assert_equal(whole[1:], list(batches(found.train, make_recipe).epoch(1, 1)))  # resumed in the middle


@KINDS
def test_workers_and_processes_do_not_change_batches(roots, make_recipe, kind):
    alone = list(batches(opened(roots, kind, workers=0).train, make_recipe).epoch(0))
    assert_equal(alone, list(batches(opened(roots, kind, workers=2).train, make_recipe).epoch(0)))
    ranks = [
        list(batches(opened(roots, kind, workers=0).train, make_recipe, rank=rank, world_size=2).epoch(0))
        for rank in range(2)
    ]
    for whole, *shares in zip(alone, *ranks, strict=True):
        assert torch.equal(torch.cat([share.index for share in shares]), whole.index)
        assert torch.equal(torch.cat([share.views[0] for share in shares]), whole.views[0])


@KINDS
def test_selection_and_pickling_keep_images_and_labels(roots, kind):
    images = opened(roots, kind).train
    chosen = pickle.loads(pickle.dumps(images.select(np.array([7, 2]))))
    assert [chosen.path(place) for place in range(2)] == [images.path(7), images.path(2)]
    assert chosen.files[0].read() == images.files[7].read()
    assert chosen.labels.tolist() == images.labels[[7, 2]].tolist()
    assert len(opened(roots, kind, subset=5).train) == 5
    assert opened(roots, kind, only_class=1).train.labels.tolist() == [1] * 6


@KINDS
def test_missing_folder_and_split_are_one_sentence(roots, kind):
    load = {"webdataset": webdataset, "hf_dataset": hf_dataset}[kind]
    with pytest.raises(UserError, match="nowhere"):
        load(str(roots / "nowhere"))
    with pytest.raises(UserError, match=r"give data.root=<folder>"):
        load(None)
    with pytest.raises(UserError, match="none-of-them"):
        opened(roots, kind, train="none-of-them")


@KINDS
def test_library_that_is_not_installed_is_named(roots, kind, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"not installed; pip install \"vje_ppl\["):
        opened(roots, kind)


def test_shards_are_indexed_once_and_anew_when_they_change(roots, tmp_path, monkeypatch):
    for shard in (roots / "shards").glob("*.tar"):
        (tmp_path / shard.name).write_bytes(shard.read_bytes())
    first = webdataset(str(tmp_path))
    assert len(list(tmp_path.glob(".vje_ppl-index-*.npz"))) == 2
    with monkeypatch.context() as patch:
        patch.setattr("vje_ppl.data.loaders.shard_index._index", None)  # must not be called
        again = webdataset(str(tmp_path))
    assert again.train.files[3].read() == first.train.files[3].read()
    (tmp_path / "p-train-002.tar").unlink()
    assert len(webdataset(str(tmp_path)).train) == 10
    with tarfile.open(tmp_path / "p-train-003.tar", "w") as tar:
        entry = tarfile.TarInfo("odd.jpg")
        tar.addfile(entry, io.BytesIO())
    with pytest.raises(UserError, match=r"odd.jpg has no label in a file ending in"):
        webdataset(str(tmp_path))
    (tmp_path / "p-train-003.tar").write_bytes(b"no tar file" * 100)
    with pytest.raises(UserError, match=r"p-train-003.tar cannot be read as an uncompressed tar file"):
        webdataset(str(tmp_path))


def test_shard_that_was_cut_short_is_named(roots, tmp_path, make_recipe):
    for shard in (roots / "shards").glob("*.tar"):
        (tmp_path / shard.name).write_bytes(shard.read_bytes())
    images = webdataset(str(tmp_path), workers=0).train
    path = tmp_path / "p-train-001.tar"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"p-train-001.tar/.*\.jpg cannot be read \(the shard ends before it\)"):
        list(batches(images, make_recipe).epoch(0))
