"""Find the run folders that globs and folders select."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

#: A folder with any of these files is a run, possibly damaged.
MARKS = ("config.yaml", "metrics.csv", "metrics.json", "checkpoints")

#: The folder that a comparison is written to by default; it is not searched for runs.
OUTPUT = "comparison"


def find_runs(patterns: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Find run folders.

    Args:
        patterns: folders or globs, relative to the working folder; `**` matches any number of folders. A folder that is
            not a run is searched for runs at any depth, except in hidden folders and links.

    Returns:
        The run folders, each once, and the folders in which no run was found; both in natural order.
    """
    runs: dict[Path, Path] = {}
    empty: dict[Path, Path] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        matches = [path] if path.is_dir() else [Path(match) for match in glob.glob(str(path), recursive=True)]
        for match in filter(Path.is_dir, matches):
            found, without = _search(match)
            runs = {run.resolve(): run for run in found} | runs  # the first name of a folder stays
            empty = {folder.resolve(): folder for folder in without if folder.name != OUTPUT} | empty
    outside = [folder for place, folder in empty.items() if not any(place.is_relative_to(run) for run in runs)]
    return natural_order(runs.values()), natural_order(outside)


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort paths by name, and numbers in names by value: `a-2` before `a-10`."""

    def key(path: Path) -> list[str | int]:
        return [int(part) if number % 2 else part for number, part in enumerate(re.split(r"([0-9]+)", str(path)))]

    return sorted(paths, key=key)


def common_folder(runs: Sequence[Path]) -> Path:
    """Return the deepest folder that holds all run folders."""
    return Path(os.path.commonpath([run.absolute().parent for run in runs]))


def _is_run(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in MARKS)


def _search(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the runs in a folder, and the topmost folders without runs (the folder itself if it has none)."""
    if _is_run(folder):
        return [folder], []
    searched = [_search(subfolder) for subfolder in _subfolders(folder)]
    runs = [run for found, _ in searched for run in found]
    return runs, [path for _, without in searched for path in without] if runs else [folder]


def _subfolders(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:  # a folder without read permission
        return []
    return [e for e in entries if not e.name.startswith(".") and e.is_dir() and not e.is_symlink()]
