"""Which folders are meant: from globs and folders to run folders."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

#: One of these makes a folder a run, if perhaps a damaged one.
MARKS = ("config.yaml", "metrics.csv", "metrics.json", "checkpoints")

#: Where a comparison is written by default; no run.
OUTPUT = "comparison"


def find_runs(patterns: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Find run folders.

    Args:
        patterns: folders or globs (`**` goes down any number of levels), from the working folder. A folder that is no
            run itself is searched for runs at any depth, hidden folders and links left aside.

    Returns:
        Run folders, each once, and the folders that were looked at without finding a run in them; both in natural
        order.
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
            barren = _barren(match, within) if within else [match]
            for folder in barren:
                foreign.setdefault(folder.resolve(), folder)
    inside = [folder for place, folder in foreign.items() if not any(place.is_relative_to(run) for run in runs)]
    return natural_order(runs.values()), natural_order(folder for folder in inside if folder.name != OUTPUT)


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sorted by name, the numbers in it by value: `a-2` before `a-10`."""

    def key(path: Path) -> list[str | int]:
        return [int(part) if number % 2 else part for number, part in enumerate(re.split(r"([0-9]+)", str(path)))]

    return sorted(paths, key=key)


def common_folder(runs: Sequence[Path]) -> Path:
    """The deepest folder that holds all run folders."""
    return Path(os.path.commonpath([run.absolute().parent for run in runs]))


def _is_run(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in MARKS)


def _runs_within(folder: Path) -> Iterator[Path]:
    if _is_run(folder):
        yield folder
        return
    for subfolder in _subfolders(folder):
        yield from _runs_within(subfolder)


def _barren(folder: Path, runs: Sequence[Path]) -> list[Path]:
    """The topmost folders below `folder` that hold no run."""
    if folder in runs:
        return []
    barren = []
    for subfolder in _subfolders(folder):
        if any(run.is_relative_to(subfolder) for run in runs):
            barren += _barren(subfolder, runs)
        else:
            barren.append(subfolder)
    return barren


def _subfolders(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:  # nothing to be found where nobody may look
        return []
    return [e for e in entries if not e.name.startswith(".") and e.is_dir() and not e.is_symlink()]
