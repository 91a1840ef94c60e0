"""Finds the folders of training and test images, in any usual spelling and beside other folders."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vje_ppl.errors import UserError

WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
}
#: Words that do not identify a split.
FILLERS = frozenset({"data", "dataset", "image", "images", "img", "imgs", "set"})
#: First characters of ignored folders.
HIDDEN = (".", "__MACOSX")
#: Names of folders of unlabelled images beside the training images.
UNLABELLED = frozenset({"unlabeled", "unlabelled", "extra"})


@dataclass(frozen=True)
class Splits:
    """Folders of a data set.

    Attributes:
        train: the folder of training images.
        tests: the folders of test images, in order of preference; may be empty.
        beside: names of folders that are not read.
    """

    train: Path
    tests: tuple[Path, ...]
    beside: tuple[str, ...]


def split_word(name: str) -> tuple[str | None, tuple[str, ...]]:
    """Split a name of a folder or split into `train`, `test`, `val` or None, and the rest of the name.

    `Training`, `train_set`, `trainset` and `train2017` all mean training; `seg_train` also has the rest `seg`.
    """
    parts = re.findall("[a-z]+", re.sub("(?<=[a-z])(?=[A-Z])", " ", name).lower())
    parts = [part.removesuffix("set") if part.removesuffix("set") in WORDS else part for part in parts]
    found = [WORDS[part] for part in parts if part in WORDS]
    rest = tuple(part for part in parts if part not in WORDS and part not in FILLERS)
    return (found[0] if len(found) == 1 else None), rest


def in_order(names: Sequence[str]) -> list[str]:
    """Return the names of test splits among names: those of `test` before those of `val`."""
    return [name for word in ("test", "val") for name in names if split_word(name)[0] == word]


def find_splits(folder: Path, with_images: Sequence[Path]) -> Splits | None:
    """Return the training and test folders in a folder; None where its subfolders are classes, or it has none.

    A training folder and a test folder belong together if their names differ only in that word.

    Args:
        folder: the folder.
        with_images: its subfolders with images.

    Raises:
        UserError: if the folder is ambiguous.
    """
    names = [one.name for one in with_images]
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        alike.setdefault(split_word(name)[1], []).append(name)
    groups = [same for same in alike.values() if _named(same, "train") and in_order(same)]
    trains, tests = _named(names, "train"), in_order(names)
    if not groups and trains and all(name in trains or name.lower() in UNLABELLED for name in names):
        groups = [trains]
    if not groups and tests and len(trains) + len(tests) == len(names):
        if trains:
            raise UserError(
                f"{folder} has training images in {trains[0]} and perhaps test images in {tests[0]}, but the rest of "
                f"the two names differs; rename the folders to train and test."
            )
        raise UserError(
            f"{folder} has test images in {tests[0]} but no training images; put those in a folder train beside it, or "
            f"give data.root={folder / tests[0]} to train on the images there."
        )
    if not groups:
        _check_classes(folder, with_images)
        return None
    trains, tests = _named(groups[0], "train"), in_order(groups[0])
    several = (trains, _named(tests, "test"), _named(tests, "val"), [_named(same, "train")[0] for same in groups])
    for same in several:
        if len(same) > 1:
            raise UserError(
                f"{folder} holds both {same[0]} and {same[1]}, but only one of them can be read; remove the other, or "
                f"give data.root=<folder> with train and test in it."
            )
    found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(HIDDEN))
    beside = tuple(one for one in found if one not in (*trains, *tests))
    return Splits(folder / trains[0], tuple(folder / one for one in tests), beside)


def _named(names: Sequence[str], word: str) -> list[str]:
    return [name for name in names if split_word(name)[0] == word]


def _check_classes(folder: Path, classes: Sequence[Path]) -> None:
    """Refuse classes that are likely to be training or test images, or to hold both."""
    for one in classes:
        inside = [entry.name for entry in os.scandir(one) if entry.is_dir()]
        trains, tests = _named(inside, "train"), in_order(inside)
        if trains and tests:
            raise UserError(
                f"{one} contains the folders {trains[0]} and {tests[0]}, so {folder} does not hold one folder per "
                f"class; give data.root={one}, or sort the images into {folder / 'train'} and {folder / 'test'}."
            )
        word, rest = split_word(one.name)
        others = [other.name for other in classes if other != one]
        if word and not rest and inside and others:
            what = "training" if word == "train" else "test"
            raise UserError(
                f"{one} may be a class or the {what} images: it contains folders and lies beside {others[0]}; put the "
                f"images of a class directly into its folder, or training and test images into folders train and test."
            )
