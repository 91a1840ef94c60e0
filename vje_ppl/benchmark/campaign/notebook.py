"""The results of a stage, on disk after each of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vje_ppl.runs.files import write_atomically


class Notebook:
    """Collects the results of a stage in a file.

    Args:
        path: a JSON file, written anew with each result.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.results: dict[str, Any] = {}

    def write(self, **results: Any) -> None:
        """Add results by name, and print them."""
        self.results |= results
        write_atomically(self._path, json.dumps(self.results, ensure_ascii=False).encode())
        for name, value in results.items():
            if isinstance(value, int | float | str):
                print(f"  {name}: {value:.4g}" if isinstance(value, float) else f"  {name}: {value}", flush=True)


def read(path: Path) -> dict[str, Any]:
    """Return what a stage has written so far; nothing if it has not come to a result."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
