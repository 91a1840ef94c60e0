"""Running the command line as a user does."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from hydra.core.global_hydra import GlobalHydra

Train = Callable[..., CompletedProcess]

#: A run of a second: a narrow MLP on a few digits.
SMALL = (
    "trainer.epochs=2",
    "data.subset=256",
    "batch_size=64",
    "encoder.width=16",
    "encoder.dim=8",
    "guide.network.depth=1",
    "knn.every=0",
)


def environment() -> dict[str, str]:
    """For runs in a process of their own: one thread, so that several share the machine."""
    return os.environ | {"OMP_NUM_THREADS": "1"}


def command(main: Callable[[], None], name: str, *arguments: object) -> CompletedProcess:
    """Run an entry point in this process; exit code and output."""
    output, errors = StringIO(), StringIO()
    logger = logging.getLogger("vje_ppl")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        for attribute in ("handlers", "propagate"):
            patch.setattr(logger, attribute, getattr(logger, attribute))
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        GlobalHydra.instance().clear()
        with pytest.raises(SystemExit) as left:
            main()
    return CompletedProcess(arguments, left.value.code, output.getvalue(), errors.getvalue())


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Run `python -m vje_ppl.train` in an empty folder; small unless told otherwise.

    The entry point itself, in this process: importing torch anew for each of many runs would take minutes.
    """
    from vje_ppl.train.__main__ import main  # after pytest has set up the checks of types

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as `python -m` does

    def run(*overrides: str, small: bool = True) -> CompletedProcess:
        return command(main, "vje_ppl.train", *(SMALL if small else ()), *overrides)

    return run


def one_sentence(result: CompletedProcess) -> str:
    """The error that a failed run printed; asserts that it was one line and no traceback."""
    assert result.returncode not in (0, None), result.stdout
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in result.stderr
    assert len(errors) == 1, result.stderr
    return errors[0]


#: Everything that takes time, made small.
QUICK = (
    *("linear.epochs=2", "scores.samples=2", "scores.pairs=1", "scores.aggregate.images=40"),
    *("scores.rank_draws=4", "scores.regret.steps=2", "one_class.classes=[3,8]", "one_class.epochs=1"),
)


def train_in(root: Path, *overrides: str) -> None:
    """A small run in a folder."""
    from vje_ppl.train.__main__ import main

    result = command(main, "vje_ppl.train", *SMALL, f"run.root={root}", *overrides)
    assert result.returncode == 0, result.stderr


def evaluate(*overrides: str) -> CompletedProcess:
    """A quick evaluation."""
    from vje_ppl.evaluate.__main__ import main

    return command(main, "vje_ppl.evaluate", *QUICK, *overrides)


def report(folder: Path) -> dict:
    """What an evaluation has written."""
    return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
