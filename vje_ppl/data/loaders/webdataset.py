"""WebDataset shards: tar files that hold images and labels, a sample after another."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int64, UInt64

from vje_ppl.data.fingerprint import NamedFiles, name_keys
from vje_ppl.data.formats import extensions
from vje_ppl.data.image_files import StoredFile
from vje_ppl.data.image_set import ImageData
from vje_ppl.data.loaders.files import file_options
from vje_ppl.data.loaders.image_folder import first_labelled, hold_out, image_data
from vje_ppl.data.loaders.labels import UNLABELLED, class_value
from vje_ppl.data.loaders.left_out import LeftOut, say_once
from vje_ppl.data.loaders.scan import FoundImages
from vje_ppl.errors import UserError

#: The version of how samples are found, so that an index of another one is made anew.
_RULE = 2


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
    bits: int | None = None,
) -> ImageData:
    """Indexes WebDataset shards once, and then reads any image at any time.

    WebDataset's own loaders stream shards and shuffle in a buffer, so that the order of images depends on the number of
    workers, and a run cannot go on in the middle of an epoch. Here the library expands the names of shards, members are
    grouped into samples as it does, and the headers of the tar files say where each image lies; from then on images are
    numbered and shuffled like any others. Images whose names hold dots are samples of their own (see `_images`). The
    index is kept beside the shards, or only in memory where nothing can be written there, and made anew when a shard
    changes. Reads are random: shards should lie on a disk, or a parallel file system, rather than behind a URL. Nothing
    in a sample but image and label is opened; an image that is no sample, such as a mask, and a sample without an image
    are counted in a warning.

    Args:
        root: the folder that holds the shards.
        train: names of the training shards in it, with `*` or `{000..146}`.
        test: those of the test shards; None: hold out a share of each class.
        label: the extension of the file that holds a sample's class, a number or a name, or -1 or nothing for none; may
            be missing in all samples.
        subset: number of training images to keep; None: all.
        on_error: `raise` or `skip`: what to do about images that cannot be used.
        workers: decoding processes, for images that are not held in memory.
        test_fraction: share of each class to hold out where `test` is None, in (0, 1).
        image_size: side of the views in pixels; None: the shorter side of the first image, at most 224.
        channels: 1 (grey) or 3 (RGB): what the images are converted to.
        memory_mb: how many megabytes of pixels may be held in memory.
        only_class: train on the images of one class alone, by name or number; None: on all classes.
        bits: the range of values of more than 8 bits, as in `vje_ppl.data.decode.read_image`.
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
    options = file_options(channels, workers, on_error, memory_mb, bits)
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
    texts, lost, left_out = (index.pop(name) for name in ("label", "lost", "left_out"))
    if not len(index["shard"]):
        raise UserError(
            f"data.{key}={pattern} names {len(shards)} shard(s) without any image that Pillow reads here in {folder}"
            + (f": {left_out}." if left_out else ".")
        )
    files = ShardMembers(shards, index)
    texts, first, places = np.unique(texts, return_index=True, return_inverse=True)
    named = [_class_name(text, label, files[row]) for text, row in zip(texts.tolist(), first.tolist(), strict=True)]
    for text, member in lost.tolist():
        name = _class_name(text, label, member.decode(errors="replace"))
        if name is not None and name not in named:
            raise UserError(
                f"no sample of the class {name} in data.{key}={pattern} has an image that Pillow reads here; the first "
                f"is that of {member.decode(errors='replace')} in {folder}."
            )
    if left_out:
        say_once(f"left out of the shards {pattern} in {folder}: {left_out}")
    classes = sorted({name for name in named if name is not None})
    if not classes:
        return FoundImages(files, None, None)
    if texts[0] == b"":
        raise UserError(
            f"{files[int(first[0])]} has no label, which others have, in a file ending in .{label}; add it, or "
            "data.label=."
        )
    if all(name.isdecimal() for name in classes):
        classes.sort(key=int)
    labels = np.array([UNLABELLED if name is None else classes.index(name) for name in named], np.int64)[places]
    return FoundImages(files, labels, tuple(classes))


def _class_name(text: bytes, label: str, member: object) -> str | None:
    """The class that the content of a label's file names; None where there is no file or it says that there is none."""
    try:
        decoded = text.decode()
        value = class_value(json.loads(decoded) if label.split(".")[-1] == "json" and text else decoded)
        name = None if value is None else str(value)
        if name is not None and not name.isprintable():
            raise ValueError
    except ValueError as error:
        raise UserError(
            f"the file ending in .{label} that belongs to {member} holds {text[:60]!r}, which is no class: expected is "
            "a number or a name, or -1 for none; give another data.label, or mend the shard."
        ) from error
    return name


def _stored(folder: Path, shards: list[str], label: str) -> dict[str, np.ndarray]:
    """The index of these shards: as an earlier run left it, or made now and left for the next."""
    stamps = [(shard, os.stat(shard).st_size, os.stat(shard).st_mtime_ns) for shard in shards]
    digest = hashlib.sha256(repr((_RULE, sorted(extensions()), stamps, label)).encode()).hexdigest()[:16]
    path = folder / f".vje_ppl-index-{digest}.npz"
    with suppress(Exception), np.load(path, allow_pickle=False) as stored:  # none there, or damaged: it is made anew
        return {name: stored[name] for name in ("shard", "offset", "size", "name", "label", "lost", "left_out")}
    index = _index(shards, label)
    with suppress(OSError):  # where nothing can be written, the next run makes it again
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".vje_ppl-index-", delete=False) as file:
            np.savez(file, **index)  # type: ignore[arg-type]
        os.replace(file.name, path)  # several processes may do so, with the same content
    return index


def _index(shards: list[str], label: str) -> dict[str, np.ndarray]:
    """Where each image lies, with its label's text; the labels without an image, and in words what was left out."""
    rows: list[tuple[int, int, int, bytes, bytes]] = []
    lost: dict[bytes, bytes] = {}
    left_out = LeftOut()
    for number, shard in enumerate(shards):
        try:
            with open(shard, "rb") as opened, tarfile.open(fileobj=opened, mode="r:") as tar:
                for sample in _samples(shard, tar, left_out):
                    images = _images(sample, label)
                    for image, named in images:
                        rows.append(
                            (number, image.offset_data, image.size, os.fsencode(image.name), _text(opened, named))
                        )
                    for further in _further(sample, images):
                        left_out.add(f"{shard}/{further.name}", "further image of a sample")
                    if not images:
                        member = next(iter(sample.values()))
                        left_out.add(f"{shard}/{member.name}", "sample without an image that Pillow reads here")
                        lost.setdefault(_text(opened, sample.get(label)), os.fsencode(member.name))
        except (tarfile.TarError, ValueError, OSError, EOFError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            raise UserError(
                f"the shard {shard} cannot be read as an uncompressed tar file ({reason}); repair or remove it."
            ) from error
    columns = list(zip(*rows, strict=True)) or [()] * 5
    numbers = {name: np.array(columns[place], np.int64) for place, name in enumerate(("shard", "offset", "size"))}
    texts = {name: np.array(columns[3 + place], np.bytes_) for place, name in enumerate(("name", "label"))}
    return (
        numbers
        | texts
        | {"lost": np.array(list(lost.items()), np.bytes_).reshape(-1, 2), "left_out": np.array(str(left_out))}
    )


def _samples(shard: str, tar: tarfile.TarFile, left_out: LeftOut) -> Iterator[dict[str, tarfile.TarInfo]]:
    """Members that follow each other and have the same name up to its first dot, keyed by the rest in lower case.

    That is how the library groups them.
    """
    base = ""
    sample: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # else every header stays in memory
        folder, _, name = member.name.rpartition("/")
        if member.isdir() or name.startswith(("__", ".")) or member.name.startswith("__"):
            continue
        stem, dot, rest = name.partition(".")
        if not member.isreg() or not dot:
            kind = "member without an extension" if member.isreg() else "member that is a link or a device"
            left_out.add(f"{shard}/{member.name}", kind)
            continue
        if f"{folder}/{stem}" != base:
            if sample:
                yield sample
            base, sample = f"{folder}/{stem}", {}
        if rest.lower() in sample:
            raise ValueError(f"it holds {member.name} twice")
        sample[rest.lower()] = member
    if sample:
        yield sample


def _images(sample: dict[str, tarfile.TarInfo], label: str) -> list[tuple[tarfile.TarInfo, tarfile.TarInfo | None]]:
    """The images of a group of members that are samples, each with its label.

    As the library has it, the first image right after the base name is the sample. Names with dots in them, such as
    `v1.5.png` and `v1.6.png`, fall into one group: an image is a sample of its own if it has a label of its own
    (`v1.5.cls`), or if the group has no image right after the base name.
    """
    found: list[tuple[tarfile.TarInfo, tarfile.TarInfo | None]] = []
    images = [rest for rest in sample if f".{rest.rpartition('.')[2]}" in extensions()]
    plain = next((rest for rest in images if "." not in rest), None)
    for rest in images:
        own = sample.get(f"{rest.rpartition('.')[0]}.{label}") if "." in rest else None
        if rest == plain or own is not None or (plain is None and "." in rest):
            found.append((sample[rest], own or sample.get(label)))
    return found


def _further(
    sample: dict[str, tarfile.TarInfo], taken: list[tuple[tarfile.TarInfo, tarfile.TarInfo | None]]
) -> list[tarfile.TarInfo]:
    """Images of a group of members that are no samples, such as a mask."""
    images = [sample[rest] for rest in sample if f".{rest.rpartition('.')[2]}" in extensions()]
    return [image for image in images if all(image is not one for one, _ in taken)]


def _text(opened: BinaryIO, member: tarfile.TarInfo | None) -> bytes:
    """The content of a label's file; of none, nothing, and of an empty one, what stands for no label."""
    if member is None:
        return b""
    opened.seek(member.offset_data)
    return opened.read(member.size).strip() or str(UNLABELLED).encode()
