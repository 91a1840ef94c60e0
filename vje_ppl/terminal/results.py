"""The results of a command that is called from Python: tables as data frames, and pictures, shown in notebooks."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, final

from vje_ppl.errors import UserError
from vje_ppl.terminal.table import html_table


@dataclass(frozen=True)
class Table:
    """A table, and the sentences below it.

    Attributes:
        rows: a mapping per row, with all numbers.
        shown: the rows that are shown, under their headings.
        notes: sentences below the table.
    """

    rows: Sequence[Mapping[str, Any]]
    shown: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Results(ABC):
    """The results of a command, which are also in its files.

    Attributes:
        folder: the folder of the files.
        tables: by name.
        pictures: PNG files.
    """

    folder: Path
    tables: Mapping[str, Table]
    pictures: Sequence[Path]

    @cached_property
    def frames(self) -> dict[str, Any]:
        """The tables with all numbers, as pandas data frames by name."""
        import pandas  # takes half a second, which the command line does without

        return {name: pandas.DataFrame(list(table.rows)) for name, table in self.tables.items()}

    @abstractmethod
    def _last_line(self) -> str:
        """Return the line below tables and pictures."""

    def __repr__(self) -> str:
        pictures = ", ".join(path.name for path in self.pictures)
        return f"{type(self).__name__} in {self.folder}: frames {', '.join(self.tables)}; pictures {pictures or 'none'}"

    def _repr_html_(self) -> str:
        """Return the tables and pictures as a notebook shows them."""
        parts = []
        for name, table in self.tables.items():
            if not table.shown:
                continue
            notes = "".join(f"<p>{escape(note)}</p>" for note in table.notes)
            parts.append(f"<h4>{escape(name)}</h4>{html_table(table.shown)}{notes}")
        parts += [html_image(path) for path in self.pictures if path.is_file()]
        return "\n".join([*parts, f"<p>{escape(self._last_line())}</p>"])


@final
@dataclass(frozen=True, eq=False, repr=False)
class EvaluationResults(Results):
    """The results of `python -m vje_ppl.evaluate`: a table for each kind of evaluation, such as `frames["knn"]`."""

    def _last_line(self) -> str:
        return f"files in {self.folder}"


@final
@dataclass(frozen=True, eq=False, repr=False)
class DiagnosisResults(Results):
    """The results of `python -m vje_ppl.diagnose`: a table of verdicts, and one for each section.

    Attributes:
        page: the HTML page with everything.
        file: the netCDF file of `tree`; None without the sections `guide` and `reference`.
    """

    page: Path
    file: Path | None = None

    @cached_property
    def tree(self) -> Any:
        """The posteriors as an `xarray.DataTree`, for ArviZ.

        Raises:
            UserError: without the sections that compute them.
        """
        if self.file is None:
            raise UserError("the diagnosis has no posteriors; call diagnose with the section guide or reference.")
        import xarray  # takes a second

        with xarray.open_datatree(self.file, engine="h5netcdf") as tree:
            return tree.load()

    def _last_line(self) -> str:
        return f"whole report: {self.page}"


def html_image(path: Path) -> str:
    """Return a PNG file as an element of HTML that holds it."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(path.stem)}" style="max-width: 100%" src="data:image/png;base64,{data}">'
