"""A folder that Hugging Face's `datasets` saved."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt64

from vje_ppl.data.fingerprint import NamedFiles, name_keys
from vje_ppl.data.image_files import StoredFile
from vje_ppl.data.image_set import ImageData
from vje_ppl.data.loaders.files import file_options
from vje_ppl.data.loaders.image_folder import first_labelled, hold_out, image_data
from vje_ppl.data.loaders.labels import UNLABELLED, class_value
from vje_ppl.data.loaders.left_out import say_once
from vje_ppl.data.loaders.scan import FoundImages
from vje_ppl.data.loaders.splits import in_order
from vje_ppl.data.selection import ClassChoice
from vje_ppl.errors import UserError


class TableCell(StoredFile):
    """An image in a row of a data set.

    Args:
        table: the data set, of one column, whose images are not decoded.
        row: the row.
    """

    def __init__(self, table: Any, row: int) -> None:
        self._table, self._row = table, row

    def __str__(self) -> str:
        return f"in row {self._row} of split {self._table.split or 'train'}"

    def read(self) -> bytes:
        """Return the whole file: its bytes in the table, or the file that the table points to."""
        (cell,) = self._table[self._row].values()
        if cell is None:
            raise OSError("the cell is empty")
        return Path(cell["path"]).read_bytes() if cell["bytes"] is None else cell["bytes"]


class TableCells(NamedFiles):
    """Images of a data set, whose table is mapped into memory and not read.

    Args:
        table: as in `TableCell`.
        rows: the rows, [N].
    """

    def __init__(self, table: Any, rows: Int64[np.ndarray, " N"]) -> None:
        self._table, self._rows = table, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> TableCell:
        return TableCell(self._table, int(self._rows[index]))

    def select(self, indices: Int64[np.ndarray, " M"]) -> TableCells:
        """Return the images at `indices`, in that order."""
        return TableCells(self._table, self._rows[indices])

    def keys(self) -> UInt64[np.ndarray, " N"]:
        """Return a hash of each image's row, because a table has no names of images."""
        return name_keys(map(str, self._rows.tolist()))

    def sizes(self) -> Int64[np.ndarray, " N"]:
        """Return bytes of each of them, which the table knows without reading them; 0 for a file outside it."""
        import pyarrow.compute as pc  # type: ignore[import-untyped]

        lengths = pc.binary_length(pc.struct_field(self._table.data.column(0), "bytes"))
        return pc.fill_null(lengths, 0).to_numpy().astype(np.int64)[self._rows]


def hf_dataset(
    root: str | None,
    train: str = "train",
    test: str | None = None,
    label: str | None = None,
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
    """Open a folder of `Dataset.save_to_disk` or `DatasetDict.save_to_disk`, without downloads or scripts.

    Images stay encoded in the table, whose rows have random access; workers decode them like files. So images are
    numbered and shuffled like any others.

    Args:
        root: the folder.
        train: the split to train on, if there are several.
        test: the split to test on; None: `test`, or else `val`, in any usual spelling, preferably with labels; without
            these, a share of each class is held out.
        label: the column of labels; None: the only column of class labels.
        subset: number of training images to keep; None: all.
        on_error: `raise` or `skip`: what to do with unusable images.
        workers: decoding processes, for images that are not held in memory.
        test_fraction: share of each class to hold out without a test split, in (0, 1).
        image_size: side of the views in pixels; None: the shorter side of the first image, at most 224.
        channels: 1 (grey) or 3 (RGB), to which the images are converted.
        memory_mb: most megabytes of pixels to hold in memory.
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.
        bits: the range of values of more than 8 bits, as in `vje_ppl.data.decode.read_image`.
    """
    if importlib.util.find_spec("datasets") is None:
        raise UserError(
            "data=hf_dataset needs Hugging Face's library datasets, which is not installed; "
            'pip install "vje_ppl[datasets]".'
        )
    if root is None:
        raise UserError("data=hf_dataset needs the folder of the data set; give data.root=<folder>.")
    folder = Path(root).absolute()
    options = file_options(channels, workers, on_error, memory_mb, bits)
    splits = _splits(folder, train)
    for wanted in (train, test):
        if wanted is not None and wanted not in splits:
            raise UserError(f"{folder} has no split {wanted}; its splits are {', '.join(splits)}: give data.train=...")
    if test == train:
        raise UserError(f"data.test={test} is the training split; give another split, or data.test=null.")
    training = _found(folder, splits[train], label)
    names = [name for name in in_order(list(splits)) if name != train] if test is None else [test]
    candidates = ((name, _found(folder, splits[name], label), f"the split {name} of {folder}") for name in names)
    labelled, testing, name = first_labelled(training, candidates)
    if testing is None or (test is None and testing.labels is None):
        parts, name, how = hold_out(training, test_fraction), None, "holds out a share of it for testing"
    else:
        parts, how = (labelled, testing), f"tests on {name}"
    rest = ", ".join(one for one in splits if one not in (train, name))
    notes = [f"learns from {train} and {how}{f'; not used: {rest}' if rest else ''}"]
    return image_data(folder.name, *parts, options, subset, image_size, only_class, notes)


def _splits(folder: Path, train: str) -> dict[str, Any]:
    from datasets import DatasetDict, load_from_disk

    try:
        opened = load_from_disk(str(folder))
    except Exception as error:  # each kind of damage has its own class
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(
            f"data=hf_dataset expects {folder} to hold a data set that save_to_disk of Hugging Face's datasets wrote, "
            f"but "
            f"it cannot be opened ({reason})."
        ) from error
    return dict(opened) if isinstance(opened, DatasetDict) else {train: opened}


def _found(folder: Path, table: Any, label: str | None) -> FoundImages:
    from datasets import ClassLabel, Image

    images = [name for name, feature in table.features.items() if isinstance(feature, Image)]
    if len(images) != 1:
        raise UserError(
            f"{folder} must have one column of images, got {len(images)} among {', '.join(table.features)}; cast the "
            f"right column to datasets.Image and save the data set again."
        )
    cells = table.select_columns(images).cast_column(images[0], Image(decode=False)).with_format(None)
    files = TableCells(cells, np.arange(len(table)))
    named = [name for name, feature in table.features.items() if isinstance(feature, ClassLabel)]
    column = label or (named[0] if len(named) == 1 else None)
    others = [name for name in table.features if name not in images]
    if column is None:
        if others:
            kinds = f"{len(named)} columns of class labels" if named else "no column of class labels"
            say_once(f"{folder} has {kinds}; data.label=<column> takes one of {', '.join(named or others)} for them")
        return FoundImages(files, None, None)
    if column not in table.features:
        raise UserError(f"data.label={label} is not a column of {folder}; the columns are {', '.join(table.features)}.")
    feature = table.features[column]
    names = tuple(feature.names) if isinstance(feature, ClassLabel) else None
    values = _classes(folder, table, column, names)
    if all(value is None for value in values):
        return FoundImages(files, None, None)
    if names is not None:
        return FoundImages(files, np.array([UNLABELLED if one is None else one for one in values], np.int64), names)
    places = {value: place for place, value in enumerate(sorted({one for one in values if one is not None}))}
    labels = np.array([UNLABELLED if one is None else places[one] for one in values], np.int64)
    return FoundImages(files, labels, tuple(str(value) for value in places))


def _classes(folder: Path, table: Any, column: str, names: tuple[str, ...] | None) -> list[Any]:
    """Return the class of each row, as a number or a text, or None; numbers index `names`, if given."""
    values = table.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    known: dict[Any, Any] = {}
    for row, value in enumerate(values):
        try:
            if value not in known:
                known[value] = class_value(value)
                if names is not None and known[value] is not None and not known[value] < len(names):
                    raise ValueError
        except (TypeError, ValueError) as error:  # the former from a list, which is no key of a mapping
            expected = "a number or a text" if names is None else f"a number from 0 to {len(names) - 1}"
            raise UserError(
                f"row {row} of the column {column} in split {table.split or 'train'} of {folder} holds {value!r:.60}, "
                f"which is not a class: expected {expected}, or null or -1 for no label; give another data.label, or "
                f"save the data set again."
            ) from error
    return [known[value] for value in values]
