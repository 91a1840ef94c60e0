"""Files of a data set that are not read: counted, named and reported once."""

from __future__ import annotations

import logging
from collections import Counter
from functools import cache

from vje_ppl.data.formats import extension

_log = logging.getLogger(__name__)

#: Extensions of files that lie beside images but are not images; "" is a file without one that Pillow does not open.
_NOTES = frozenset({"", ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html"})


class LeftOut:
    """Files that were found but are not read, by extension."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, name: str, kind: str | None = None) -> None:
        """Count a file, by its extension unless another kind is given."""
        kind = extension(name) if kind is None else kind
        self._counts[kind] += 1
        self._first.setdefault(kind, name)

    def add_all(self, other: LeftOut) -> None:
        """Add the counts of another object."""
        self._counts.update(other._counts)
        self._first = other._first | self._first

    def __len__(self) -> int:
        return self._counts.total()

    @property
    def may_be_images(self) -> bool:
        """Whether some may be images, rather than files such as `.txt` or `.json` beside them."""
        return not _NOTES.issuperset(self._counts)

    def __str__(self) -> str:
        """Return counts and the first file of each kind: `10 × .heic (cats/0.heic), 2 × .txt (cats/readme.txt)`."""
        kinds = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{count} × {kind or 'no extension'} ({self._first[kind]})" for kind, count in kinds)

    def report(self, place: object) -> None:
        """Report what was left out of a place, by `say_once`."""
        if self._counts:
            say_once(f"left out {len(self)} file(s) in {place}, which Pillow cannot read here as images: {self}")


def say_once(message: str) -> None:
    """Warn about a data set, in the first process only, and not again when the same data are reopened."""
    from lightning_fabric.utilities.rank_zero import rank_zero_only  # slow to import, and seldom needed

    rank_zero_only(_said)(message)


@cache
def _said(message: str) -> None:
    _log.warning("%s", message)
