"""Find the run folders that globs and folders select."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

#: A folder that holds any of these is a run, if perhaps a damaged one.
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
    foreign: dict[Path, Path] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        matches = [path] if path.is_dir() else [Path(match) for match in glob.glob(str(path), recursive=True)]
        for match in matches:
            if not match.is_dir():
                continue
            within = list(_runs_within(match))
            for found in within:
                runs.setdefault(found.resolve(), found)
            for folder in _empty(match, within) if within else [match]:
                foreign.setdefault(folder.resolve(), folder)
    inside = [folder for place, folder in foreign.items() if not any(place.is_relative_to(run) for run in runs)]
    return natural_order(runs.values()), natural_order(folder for folder in inside if folder.name != OUTPUT)


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


def _runs_within(folder: Path) -> Iterator[Path]:
    if _is_run(folder):
        yield folder
        return
    for subfolder in _subfolders(folder):
        yield from _runs_within(subfolder)


def _empty(folder: Path, runs: Sequence[Path]) -> list[Path]:
    """The topmost folders below `folder` that hold no run."""
    if folder in runs:
        return []
    empty = []
    for subfolder in _subfolders(folder):
        if any(run.is_relative_to(subfolder) for run in runs):
            empty += _empty(subfolder, runs)
        else:
            empty.append(subfolder)
    return empty


def _subfolders(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:  # a folder that may not be read
        return []
    return [e for e in entries if not e.name.startswith(".") and e.is_dir() and not e.is_symlink()]
