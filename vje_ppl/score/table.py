"""`scores.csv`: a row per image, written as images are scored, and continued after an interruption."""

from __future__ import annotations

import csv
import fcntl
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vje_ppl.errors import UserError
from vje_ppl.runs.files import explain

COLUMNS = ("path", "score", "p_value", "flag", "reason")
TABLE, PARTIAL = "scores.csv", "scores.partial.csv"

_HEADER = f"{','.join(COLUMNS)}\n".encode()


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        path: of the image.
        score: None without a score.
        p_value: None without a score or calibration.
        flag: whether the p-value is at most alpha; None without a p-value.
        reason: why there is no score, or a note about the path; else empty.
    """

    path: str
    score: float | None
    p_value: float | None
    flag: bool | None
    reason: str

    def bytes(self) -> bytes:
        """Return the row as CSV in UTF-8."""
        numbers = ("" if value is None else f"{value:.9g}" for value in (self.score, self.p_value))
        flag = "" if self.flag is None else str(int(self.flag))
        return f"{','.join([_quoted(self.path), *numbers, flag, _quoted(self.reason)])}\n".encode()


def row(path: str, score: float, p_value: float, alpha: float, reasons: list[str]) -> Row:
    """Return the row of an image, with NaN for a missing score or p-value."""
    p = None if math.isnan(p_value) else float(p_value)
    shown = None if math.isnan(score) else float(score)
    return Row(path, shown, p, None if p is None else p <= alpha, "; ".join(filter(None, reasons)))


def read_rows(path: Path) -> list[Row]:
    """Read a table that is complete."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [
        Row(
            name,
            float(score) if score else None,
            float(p_value) if p_value else None,
            bool(int(flag)) if flag else None,
            reason,
        )
        for name, score, p_value, flag, reason in rows
    ]


@contextmanager
def continued(folder: Path, chunk: int) -> Iterator[tuple[BinaryIO, int]]:
    """Open the unfinished table of a folder at its end, after the last whole chunk of rows.

    Args:
        folder: the folder.
        chunk: rows that are written together.

    Yields:
        The file, which no other process has open in this way, and the number of its rows.

    Raises:
        UserError: if the file cannot be opened, or another process writes it.
    """
    path = folder / PARTIAL
    try:
        if (folder / TABLE).exists():  # the command ended between the last two files
            os.replace(folder / TABLE, path)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {explain(error)}.") from error
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{folder} is in use by another command: wait for it, or give another out.") from error
        rows, end = _whole_rows(file, chunk)
        file.truncate(end)
        file.seek(end)
        if not end:
            file.write(_HEADER)
        yield file, rows


def _whole_rows(file: BinaryIO, chunk: int) -> tuple[int, int]:
    """Return the number of rows in whole chunks, and the place in the file where they end."""
    if file.readline() != _HEADER:
        return 0, 0
    rows, quotes = 0, 0
    end = place = len(_HEADER)
    for line in file:
        place += len(line)
        quotes += line.count(b'"')
        if line.endswith(b"\n") and quotes % 2 == 0:  # else the row goes on, or was not written to its end
            rows += 1
            if rows % chunk == 0:
                end = place
    return rows // chunk * chunk, end


def _quoted(text: str) -> str:
    if any(character in text for character in ',"\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text


def finish(folder: Path) -> None:
    """Give the unfinished table its final name."""
    os.replace(folder / PARTIAL, folder / TABLE)


def lowest_and_highest(rows: list[Row], count: int) -> tuple[list[int], list[int]]:
    """Return the places of the most usual and of the least usual images, each the most extreme first."""
    scored = [place for place, one in enumerate(rows) if one.score is not None]
    order = sorted(scored, key=lambda place: (rows[place].score or 0.0, place))
    least = order[::-1][:count]
    return [place for place in order if place not in least][:count], least
