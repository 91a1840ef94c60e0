"""An index of the images in WebDataset shards: their places in the tar files and their labels."""

from __future__ import annotations

import hashlib
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
from vje_ppl.data.loaders.labels import UNLABELLED
from vje_ppl.data.loaders.left_out import LeftOut
from vje_ppl.errors import UserError

#: Version of the rule that finds samples; an index with another version is rebuilt.
_RULE = 2


class ShardMember(StoredFile):
    """A file inside a tar file, by its place.

    Args:
        shard: the tar file.
        name: the file's name in it.
        offset: first byte of its content.
        size: bytes of its content.
    """

    def __init__(self, shard: str, name: str, offset: int, size: int) -> None:
        self._shard, self._name, self._offset, self._size = shard, name, offset, size

    def __str__(self) -> str:
        return f"{self._shard}/{self._name}"

    def read(self) -> bytes:
        """Return the whole file."""
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
        """Return the images at `indices`, in that order."""
        return ShardMembers(self.shards, {name: values[indices] for name, values in self._index.items()})

    @property
    def shard_numbers(self) -> Int64[np.ndarray, " N"]:
        """The place in `shards` of each image's shard."""
        return self._index["shard"]

    def keys(self) -> UInt64[np.ndarray, " N"]:
        """Return a hash of each image's name and its shard's, because other shards may repeat a name."""
        shards = [os.path.basename(shard) for shard in self.shards]
        rows = zip(self._index["shard"].tolist(), self._index["name"].tolist(), strict=True)
        return name_keys(f"{shards[shard]}/{os.fsdecode(name)}" for shard, name in rows)

    def sizes(self) -> Int64[np.ndarray, " N"]:
        """Return bytes of each image."""
        return self._index["size"]


def shard_index(folder: Path, shards: list[str], label: str) -> dict[str, np.ndarray]:
    """Return the index of shards: an earlier run's, or a new index, which is stored beside the shards.

    Args:
        folder: the folder of the shards.
        shards: the tar files.
        label: the extension of label files.

    Returns:
        Arrays by name: `shard`, `offset`, `size`, `name` and `label` with a row for each image; `lost`, the labels of
        samples without an image, each with the name of a member; and `left_out`, what was left out, in words.

    Raises:
        UserError: if a shard cannot be read.
    """
    stamps = [(shard, os.stat(shard).st_size, os.stat(shard).st_mtime_ns) for shard in shards]
    digest = hashlib.sha256(repr((_RULE, sorted(extensions()), stamps, label)).encode()).hexdigest()[:16]
    path = folder / f".vje_ppl-index-{digest}.npz"
    with suppress(Exception), np.load(path, allow_pickle=False) as stored:  # missing or damaged: rebuild it
        return {name: stored[name] for name in ("shard", "offset", "size", "name", "label", "lost", "left_out")}
    index = _index(shards, label)
    with suppress(OSError):  # if the folder is not writable, the next run rebuilds it
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".vje_ppl-index-", delete=False) as file:
            np.savez(file, **index)  # type: ignore[arg-type]
        os.replace(file.name, path)  # several processes may do so, with the same content
    return index


def _index(shards: list[str], label: str) -> dict[str, np.ndarray]:
    """Return the arrays of `shard_index`, from the headers of the tar files."""
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
    """Yield groups of consecutive members with the same name up to the first dot, keyed by the rest in lower case.

    The library groups them in the same way.
    """
    base = ""
    sample: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # or every header stays in memory
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
            raise ValueError(f"it contains {member.name} twice")
        sample[rest.lower()] = member
    if sample:
        yield sample


def _images(sample: dict[str, tarfile.TarInfo], label: str) -> list[tuple[tarfile.TarInfo, tarfile.TarInfo | None]]:
    """Return the images of a group that are samples, each with its label.

    As in the library, the first image right after the base name is the sample. Names with dots, such as `v1.5.png` and
    `v1.6.png`, fall into one group: there an image is a sample of its own if it has a label of its own (`v1.5.cls`), or
    if the group has no image right after the base name.
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
    """Return images of a group that are not samples, such as masks."""
    images = [sample[rest] for rest in sample if f".{rest.rpartition('.')[2]}" in extensions()]
    return [image for image in images if all(image is not one for one, _ in taken)]


def _text(opened: BinaryIO, member: tarfile.TarInfo | None) -> bytes:
    """Return the content of a label's file; empty without a file, and -1 for an empty file."""
    if member is None:
        return b""
    opened.seek(member.offset_data)
    return opened.read(member.size).strip() or str(UNLABELLED).encode()
