"""WebDataset shards: tar files that hold images and labels, sample after sample."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np

from vje_ppl.data.image_set import ImageData
from vje_ppl.data.loaders.files import file_options
from vje_ppl.data.loaders.image_folder import first_labelled, hold_out, image_data
from vje_ppl.data.loaders.labels import UNLABELLED, class_value
from vje_ppl.data.loaders.left_out import say_once
from vje_ppl.data.loaders.scan import FoundImages
from vje_ppl.data.loaders.shard_index import ShardMembers, shard_index
from vje_ppl.data.selection import ClassChoice
from vje_ppl.errors import UserError


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
    only_class: ClassChoice = None,
    bits: int | None = None,
) -> ImageData:
    """Index WebDataset shards once, for random access to their images.

    WebDataset's own loaders stream shards and shuffle in a buffer, so the order of images depends on the number of
    workers, and a run cannot resume in the middle of an epoch. Here the library expands the names of shards, members
    are grouped into samples as it does, and the headers of the tar files give the place of each image; images are then
    numbered and shuffled like any others. Images whose names hold dots are samples of their own.

    The index is stored beside the shards (only in memory if that folder is not writable) and rebuilt when a shard
    changes. Reads are random: shards should lie on a disk or a parallel file system, not behind a URL. Only the image
    and the label of a sample are opened; a warning counts images that are not samples, such as masks, and samples
    without an image.

    Args:
        root: the folder that holds the shards.
        train: names of the training shards in it, with `*` or `{000..146}`.
        test: names of the test shards; None: hold out a share of each class.
        label: the extension of the file with a sample's class, a number or a name; -1 or an empty file for no label;
            may be missing in all samples.
        subset: number of training images to keep; None: all.
        on_error: `raise` or `skip`: what to do with unusable images.
        workers: decoding processes, for images that are not held in memory.
        test_fraction: share of each class to hold out where `test` is None, in (0, 1).
        image_size: side of the views in pixels; None: the shorter side of the first image, at most 224.
        channels: 1 (grey) or 3 (RGB), to which the images are converted.
        memory_mb: most megabytes of pixels to hold in memory.
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.
        bits: the range of values of more than 8 bits, as in `vje_ppl.data.decode.read_image`.
    """
    if importlib.util.find_spec("webdataset") is None:
        raise UserError(
            'data=webdataset needs the library webdataset, which is not installed; pip install "vje_ppl[webdataset]".'
        )
    if root is None:
        raise UserError("data=webdataset needs the folder of the shards; give data.root=<folder>.")
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
            f"data.train={train} and data.test={test} both match the shard {min(both)}, whose images would be used for "
            f"training and for testing; give patterns that match different shards."
        )
    training, testing, _ = first_labelled(training, [(test, found, f"data.test={test}")])
    return image_data(folder.name, training, testing, options, subset, image_size, only_class)


def _find(folder: Path, key: str, pattern: str, label: str) -> FoundImages:
    """Return the images of the shards that a pattern names, in the order of shards and of their members."""
    from webdataset.shardlists import expand_urls

    names = [path for one in expand_urls(pattern) for path in sorted(folder.glob(one))]
    if not names:
        raise UserError(
            f"data.{key}={pattern} matches no shard in {folder}; give the names of uncompressed tar files with * or "
            "{000..146}" + (", or data.test=null to hold out a share of the training images." if key == "test" else ".")
        )
    shards = [str(name) for name in names]
    index = shard_index(folder, shards, label)
    texts, lost, left_out = (index.pop(name) for name in ("label", "lost", "left_out"))
    if not len(index["shard"]):
        raise UserError(
            f"data.{key}={pattern} matches {len(shards)} shard(s) without an image that Pillow can read in {folder}"
            + (f": {left_out}." if left_out else ".")
        )
    files = ShardMembers(shards, index)
    texts, first, places = np.unique(texts, return_index=True, return_inverse=True)
    named = [_class_name(text, label, files[row]) for text, row in zip(texts.tolist(), first.tolist(), strict=True)]
    for text, member in lost.tolist():
        name = _class_name(text, label, member.decode(errors="replace"))
        if name is not None and name not in named:
            raise UserError(
                f"no sample of the class {name} in data.{key}={pattern} has an image that Pillow can read; the first "
                f"is the sample of {member.decode(errors='replace')} in {folder}."
            )
    if left_out:
        say_once(f"left out of the shards {pattern} in {folder}: {left_out}")
    classes = sorted({name for name in named if name is not None})
    if not classes:
        return FoundImages(files, None, None)
    if texts[0] == b"":
        raise UserError(
            f"{files[int(first[0])]} has no label in a file ending in .{label}, but other samples have; add it, or "
            f"ignore all labels with data.label=."
        )
    if all(name.isdecimal() for name in classes):
        classes.sort(key=int)
    labels = np.array([UNLABELLED if name is None else classes.index(name) for name in named], np.int64)[places]
    return FoundImages(files, labels, tuple(classes))


def _class_name(text: bytes, label: str, member: object) -> str | None:
    """Return the class in a label file; None if there is no file or no label."""
    try:
        decoded = text.decode()
        value = class_value(json.loads(decoded) if label.split(".")[-1] == "json" and text else decoded)
        name = None if value is None else str(value)
        if name is not None and not name.isprintable():
            raise ValueError
    except ValueError as error:
        raise UserError(
            f"the file ending in .{label} that belongs to {member} holds {text[:60]!r}, which is not a class: expected "
            f"a number or a name, or -1 for no label; give another data.label, or repair the shard."
        ) from error
    return name
