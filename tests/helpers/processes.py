"""Commands in processes of their own, forked from one that has imported what takes its time."""

from __future__ import annotations

import io
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from multiprocessing.reduction import DupFd
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tests.helpers.commands import environment

#: Forks from a server that has not begun to compute, so that there are no threads to lose.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["vje_ppl.train.run", "vje_ppl.evaluate.one_class", "vje_ppl.reproduce.cell"])


class Command:
    """A running `python -m module overrides`, which saves the seconds that a new interpreter takes to import torch.

    Args:
        folder: the working folder.
        module: such as `vje_ppl.train`.
        overrides: the command line.
        pipe: whether `stdout` is a pipe to read from while the command runs.
        variables: of the environment, beside those of this process.
    """

    def __init__(self, folder: Path, module: str, *overrides: str, pipe: bool = False, **variables: str) -> None:
        self._arguments = overrides
        self._files = [TemporaryFile("w+"), TemporaryFile("w+")]  # noqa: SIM115 (`wait` closes them)
        output = self._files[0].fileno()
        if pipe:
            reading, output = os.pipe()
            self.stdout = open(reading)  # noqa: SIM115
        streams = [DupFd(number) for number in (output, self._files[1].fileno())]
        work = (os.fspath(folder), module, overrides, environment() | variables, *streams)
        self._process = CONTEXT.Process(target=_run, args=work)
        self._process.start()
        if pipe:
            os.close(output)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def poll(self) -> int | None:
        """Exit code, or None while the command runs; negative for the signal that killed it."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self, timeout: float = 120) -> subprocess.CompletedProcess:
        """Exit code and output of the command; kills it if it takes longer."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            self._process.join()
            raise TimeoutError(f"after {timeout} s: {self._read(0)} {self._read(1)}")
        self._process.close()
        return subprocess.CompletedProcess(self._arguments, code, self._read(0), self._read(1))

    def _read(self, number: int) -> str:
        with self._files[number] as file:
            file.seek(0)
            return file.read()


def run(folder: Path, module: str, *overrides: str, **variables: str) -> subprocess.CompletedProcess:
    """Run a command to its end."""
    return Command(folder, module, *overrides, **variables).wait()


def _run(folder: str, module: str, arguments: tuple, variables: dict[str, str], output: Any, errors: Any) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    for number, stream in enumerate((output, errors), start=1):
        os.dup2(stream.detach(), number)
    sys.stdout, sys.stderr = _stream(1), _stream(2, line_buffering=True)
    sys.path.insert(0, folder)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _stream(number: int, line_buffering: bool = False) -> io.TextIOWrapper:
    """A stream as the interpreter opens it at its start."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    raw = io.FileIO(number, "w", closefd=False)
    buffer: Any = raw if unbuffered else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding="utf-8", line_buffering=line_buffering, write_through=unbuffered)
