"""A folder in which documentation can be followed: a trained run, and photographs in the layouts of data sets."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import shutil
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import webdataset
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.datasets import CIFAR10

from tests.documentation.commands import BUDGETS, RUN, _run_here

CLASSES = ("blossom", "palace")


def _photographs(count: int, side: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sources = [Image.fromarray(image) for image in load_sample_images().images]
    cuts = []
    for number in range(count):
        source = sources[number % 2]
        left, top = (int(rng.integers(0, room - 128)) for room in source.size)
        cuts.append(source.crop((left, top, left + 128, top + 128)).resize((side, side)))
    return cuts


def _write_folders(root: Path, splits: tuple[str, ...], suffix: str) -> None:
    for split in splits:
        for number, cut in enumerate(_photographs(16, 48)):
            path = root / split / CLASSES[number % 2] / f"{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            cut.save(path, "JPEG")


def _write_large_sets(root: Path) -> None:
    """The folders of `imagenet` as shards, and as tables that `datasets` saved."""
    paths = {split: sorted((root / "imagenet" / split).glob("*/*.JPEG")) for split in ("train", "val")}
    (root / "shards").mkdir()
    for split, files in paths.items():
        with webdataset.ShardWriter(str(root / "shards" / f"photos-{split}-%06d.tar"), maxcount=8, verbose=0) as shards:
            for path in files:
                label = str(CLASSES.index(path.parent.name))
                shards.write({"__key__": path.stem, "jpg": path.read_bytes(), "cls": label.encode()})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    tables = {
        split: datasets.Dataset.from_dict(
            {"image": [str(path) for path in files], "label": [CLASSES.index(path.parent.name) for path in files]},
            features=features,
        )
        for split, files in paths.items()
    }
    datasets.DatasetDict(tables).save_to_disk(str(root / "saved"))


def _write_cifar(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Batches as CIFAR-10's Python version has them, eight images in each; torchvision is told their checksums."""
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    pixels = np.stack([np.asarray(cut).transpose(2, 0, 1).reshape(-1) for cut in _photographs(8, 32)])
    batch = pickle.dumps({"data": pixels, "labels": [0, 1] * 4})
    names = [name for name, _ in (*CIFAR10.train_list, *CIFAR10.test_list)]
    classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    meta = pickle.dumps({CIFAR10.meta["key"]: classes})
    for name, content in ((CIFAR10.meta["filename"], meta), *((name, batch) for name in names)):
        (folder / name).write_bytes(content)
    for split in ("train_list", "test_list"):
        patch.setattr(CIFAR10, split, [[name, _md5(batch)] for name, _ in getattr(CIFAR10, split)])
    patch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": _md5(meta)})


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory):
    """What a reader has when a page begins: runs called `first` and `digits`, and some images."""
    folder = tmp_path_factory.mktemp("workshop")
    for name in ("photos", "new_photos", "normal_photos"):
        _write_folders(folder / name, ("",), "jpg")
    _write_folders(folder / "imagenet", ("train", "val"), "JPEG")
    _write_large_sets(folder)
    patch = pytest.MonkeyPatch()
    _write_cifar(folder / "cifar", patch)
    with _WorkingIn(folder):
        _run_here("vje_ppl.train", ["run.name=first", *BUDGETS["train"]])  # as the page on starting has it
    shutil.copytree(folder / "runs/first", folder / "runs" / RUN)
    yield folder
    patch.undo()


@pytest.fixture
def desk(workshop: Path, tmp_path: Path):
    """A copy of the workshop, as the working folder; modules that lie there can be imported."""
    folder = tmp_path / "desk"
    shutil.copytree(workshop, folder)
    with _WorkingIn(folder):
        yield folder


class _WorkingIn:
    """The working folder, on the path as `python -m` puts it there; nothing that is imported from it stays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        self._patch = pytest.MonkeyPatch()
        self._patch.chdir(self._folder)
        self._patch.syspath_prepend(str(self._folder))
        self._patch.setattr(logging.getLogger("vje_ppl"), "handlers", [])
        self._patch.setattr(logging.getLogger("vje_ppl"), "propagate", logging.getLogger("vje_ppl").propagate)

    def __exit__(self, *_: object) -> None:
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(f"{self._folder}{os.sep}"):
                del sys.modules[name]
        self._patch.undo()
