"""WebDataset shards: tar files that hold images and labels, a sample after another."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt64

from vje_ppl.data.fingerprint import NamedFiles, name_keys
from vje_ppl.data.image_files import StoredFile
from vje_ppl.data.image_set import ImageData
from vje_ppl.data.loaders.files import file_options
from vje_ppl.data.loaders.image_folder import first_labelled, hold_out, image_data
from vje_ppl.data.loaders.scan import EXTENSIONS, FoundImages
from vje_ppl.errors import UserError


class ShardMember(StoredFile):
    """A file inside a tar file, by its place.

    Args:
        shard: the tar file.
        name: of the file in it.
        offset: where its bytes begin.
        size: how many they are.
    """

    def __init__(self, shard: str, name: str, offset: int, size: int) -> None:
        self._shard, self._name, self._offset, self._size = shard, name, offset, size

    def __str__(self) -> str:
        return f"{self._shard}/{self._name}"

    def read(self) -> bytes:
        """The whole file."""
        with open(self._shard, "rb") as shard:
            shard.seek(self._offset)
            content = shard.read(self._size)
        if len(content) < self._size:
            raise OSError("the shard ends before it")
        return content


class ShardMembers(NamedFiles):
    """Images of many shards in blocks of numbers, which forked workers share.

    Attributes:
        shards: the tar files.

    Args:
        shards: the tar files.
        index: arrays `shard` (a number), `offset`, `size` and `name`, [N] each.
    """

    def __init__(self, shards: list[str], index: dict[str, np.ndarray]) -> None:
        self.shards, self._index = shards, index

    def __len__(self) -> int:
        return len(self._index["shard"])

    def __getitem__(self, index: int) -> ShardMember:
        shard, offset, size = (int(self._index[name][index]) for name in ("shard", "offset", "size"))
        return ShardMember(self.shards[shard], os.fsdecode(self._index["name"][index]), offset, size)

    def select(self, indices: Int64[np.ndarray, " M"]) -> ShardMembers:
        """The images at `indices`, in that order."""
        return ShardMembers(self.shards, {name: values[indices] for name, values in self._index.items()})

    def keys(self) -> UInt64[np.ndarray, " N"]:
        """A hash of each one's name and its shard's, because names may come again in other shards."""
        shards = [os.path.basename(shard) for shard in self.shards]
        rows = zip(self._index["shard"].tolist(), self._index["name"].tolist(), strict=True)
        return name_keys(f"{shards[shard]}/{os.fsdecode(name)}" for shard, name in rows)

    def sizes(self) -> Int64[np.ndarray, " N"]:
        """Bytes of each of them."""
        return self._index["size"]


def webdataset(
    root: str | None,
    train: str = "*train*.tar",
    test: str | None = "*val*.tar",
    label: str = "cls",
    subset: int | None = None,
    on_error: str = "raise",
    workers: int = 2,
    test_fraction: float = 0.1,
    image_size: int | None = None,
    channels: int = 3,
    memory_mb: float = 512.0,
    only_class: str | int | None = None,
) -> ImageData:
    """Indexes WebDataset shards once, and then reads any image at any time.

    WebDataset's own loaders stream shards and shuffle in a buffer, so that the order of images depends on the number of
    workers, and a run cannot go on in the middle of an epoch. Here the library says what a sample is (it expands the
    names of shards and groups members by their keys), while the headers of the tar files say where each image lies;
    from then on images are numbered and shuffled like any others. The index is kept beside the shards, or only in
    memory where nothing can be written there, and made anew when a shard changes. Reads are random: shards should lie
    on a disk, or a parallel file system, rather than behind a URL. Nothing in a sample but image and label is opened.

    Args:
        root: the folder that holds the shards.
        train: names of the training shards in it, with `*` or `{000..146}`.
        test: those of the test shards; None: hold out a share of each class.
        label: the extension of the file that holds a sample's class, a number or a name; may be missing in all samples.
        subset: number of training images to keep; None: all.
        on_error: `raise` or `skip`: what to do about images that cannot be used.
        workers: decoding processes, for images that are not held in memory.
        test_fraction: share of each class to hold out where `test` is None, in (0, 1).
        image_size: side of the views in pixels; None: the shorter side of the first image, at most 224.
        channels: 1 (grey) or 3 (RGB): what the images are converted to.
        memory_mb: how many megabytes of pixels may be held in memory.
        only_class: train on the images of one class alone, by name or number; None: on all classes.
    """
    if importlib.util.find_spec("webdataset") is None:
        raise UserError(
            'data=webdataset needs the library of that name, which is not installed; pip install "vje_ppl[webdataset]".'
        )
    if root is None:
        raise UserError("data=webdataset needs to know where the shards are; give data.root=<folder>.")
    folder = Path(root).absolute()
    if not folder.is_dir():
        raise UserError(f"data=webdataset expects shards in the folder {folder}, which does not exist.")
    options = file_options(channels, workers, on_error, memory_mb)
    training = _find(folder, "train", train, label)
    if test is None:
        return image_data(folder.name, *hold_out(training, test_fraction), options, subset, image_size, only_class)
    found = _find(folder, "test", test, label)
    assert isinstance(found.paths, ShardMembers)
    assert isinstance(training.paths, ShardMembers)
    both = set(found.paths.shards) & set(training.paths.shards)
    if both:
        raise UserError(
            f"data.train={train} and data.test={test} both name the shard {min(both)}, so that its images would be "
            "trained on and tested on; give patterns that name different shards."
        )
    training, testing, _ = first_labelled(training, [(test, found, f"data.test={test}")])
    return image_data(folder.name, training, testing, options, subset, image_size, only_class)


def _find(folder: Path, key: str, pattern: str, label: str) -> FoundImages:
    """The images of the shards that a pattern names, in the order of shards and of their members."""
    from webdataset.shardlists import expand_urls

    names = [path for one in expand_urls(pattern) for path in sorted(folder.glob(one))]
    if not names:
        raise UserError(
            f"data.{key}={pattern} names no shard in {folder}; give the names of uncompressed tar files with * or "
            "{000..146}" + (", or data.test=null to hold out a share of the training images." if key == "test" else ".")
        )
    shards = [str(name) for name in names]
    index = _stored(folder, shards, label)
    if not len(index["shard"]):
        raise UserError(f"data.{key}={pattern} names {len(shards)} shard(s) without any image in {folder}.")
    texts = index.pop("label")
    files = ShardMembers(shards, index)
    if not any(texts):
        return FoundImages(files, None, None)
    if not all(texts):
        first = files[int(np.flatnonzero(texts == b"")[0])]
        raise UserError(
            f"{first} has no label, which others have, in a file ending in .{label}; add it, or data.label=."
        )
    classes, labels = np.unique(texts, return_inverse=True)
    named = [name.decode(errors="replace") for name in classes.tolist()]
    if all(name.isdecimal() for name in named):
        order = np.argsort([int(name) for name in named], kind="stable")
        labels, named = np.argsort(order)[labels], [named[place] for place in order]
    return FoundImages(files, labels.astype(np.int64), tuple(named))


def _stored(folder: Path, shards: list[str], label: str) -> dict[str, np.ndarray]:
    """The index of these shards: as an earlier run left it, or made now and left for the next."""
    stamps = [(shard, os.stat(shard).st_size, os.stat(shard).st_mtime_ns) for shard in shards]
    digest = hashlib.sha256(repr((stamps, label)).encode()).hexdigest()[:16]
    path = folder / f".vje_ppl-index-{digest}.npz"
    with suppress(Exception), np.load(path, allow_pickle=False) as stored:  # none there, or damaged: it is made anew
        return {name: stored[name] for name in ("shard", "offset", "size", "name", "label")}
    index = _index(shards, label)
    with suppress(OSError):  # where nothing can be written, the next run makes it again
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".vje_ppl-index-", delete=False) as file:
            np.savez(file, **index)  # type: ignore[arg-type]
        os.replace(file.name, path)  # several processes may do so, with the same content
    return index


def _index(shards: list[str], label: str) -> dict[str, np.ndarray]:
    from webdataset.tariterators import group_by_keys

    rows: list[tuple[int, int, int, bytes, bytes]] = []
    for number, shard in enumerate(shards):
        try:
            with open(shard, "rb") as opened, tarfile.open(fileobj=opened, mode="r:") as tar:
                for sample in group_by_keys(_members(shard, tar)):
                    image = next((sample[one] for one in sample if f".{one}" in EXTENSIONS), None)
                    if image is None:
                        continue
                    text = b""
                    if label in sample:
                        opened.seek(sample[label].offset_data)
                        text = opened.read(sample[label].size).strip()
                    rows.append((number, image.offset_data, image.size, os.fsencode(image.name), text))
        except (tarfile.TarError, ValueError, OSError, EOFError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            raise UserError(
                f"the shard {shard} cannot be read as an uncompressed tar file ({reason}); repair or remove it."
            ) from error
    columns = list(zip(*rows, strict=True)) or [()] * 5
    numbers = {name: np.array(columns[place], np.int64) for place, name in enumerate(("shard", "offset", "size"))}
    return numbers | {name: np.array(columns[3 + place], np.bytes_) for place, name in enumerate(("name", "label"))}


def _members(shard: str, tar: tarfile.TarFile) -> Iterator[dict[str, Any]]:
    """What the library groups into samples: names, and in place of contents where these lie."""
    for member in tar:
        if member.isreg() and not member.name.startswith("__"):
            yield {"fname": member.name, "data": member, "__url__": shard}
        tar.members = []  # type: ignore[attr-defined]  # else every header stays in memory
