"""Computing cells on the cores or GPUs of a machine, in processes that each take a cell after the other."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from queue import Empty
from typing import Any

import torch

from vje_ppl.errors import UserError
from vje_ppl.parallel.interrupt import Interrupt
from vje_ppl.reproduce.cell import Cell, run_cell

_POLL = 0.2  # seconds


@dataclass(frozen=True)
class Workers:
    """Settings for computing cells.

    Attributes:
        jobs: processes at a time.
        threads: threads of each process.
        device: `auto`, `cpu` or `cuda`.
        gpus: numbers of the GPUs that the processes share out; empty: none.
        root: the folder of the runs.
        cells: the folder of their records.
        debug: whether to show tracebacks of user errors.
    """

    jobs: int
    threads: int
    device: str
    gpus: tuple[str, ...]
    root: Path
    cells: Path
    debug: bool = False


@dataclass(frozen=True)
class Done:
    """The result of a cell: `error` is a sentence if it failed; `seconds` is the time since its start."""

    cell: Cell
    seconds: float
    error: str = ""


def run_cells(cells: Sequence[Cell], workers: Workers, report: Callable[[Done], None]) -> int:
    """Compute cells; if a cell fails, the others still run.

    SIGINT and SIGTERM let each process save its run, which the next call resumes.

    Args:
        cells: unfinished cells, no two of which share a run folder.
        workers: the settings.
        report: called with each cell as it is done.

    Returns:
        Exit code: 0, 1 if a cell failed, or 128 plus a signal's number.
    """
    # Forking this process would break the threads of torch and JAX; forking a server that has only imported the slow
    # packages does not.
    context = get_context("forkserver")
    context.set_forkserver_preload(["vje_ppl.reproduce.cell"])
    tasks, results = context.Queue(), context.Queue()
    jobs = min(workers.jobs, len(cells))
    for number in (*range(len(cells)), *[None] * jobs):
        tasks.put(number)
    failed = 0
    with Interrupt() as interrupt:
        processes = [
            context.Process(target=_work, args=(list(cells), workers, place, tasks, results)) for place in range(jobs)
        ]
        for process in processes:
            process.start()
        try:
            remaining = len(cells)
            while remaining and interrupt.signal is None:
                try:
                    number, seconds, error = results.get(timeout=_POLL)
                except Empty:
                    if not any(process.is_alive() for process in processes):
                        raise UserError(
                            f"the processes died with {remaining} cells unfinished (out of memory?); give jobs=1, or "
                            f"try again."
                        ) from None
                    continue
                remaining -= 1
                failed += bool(error)
                report(Done(cells[number], seconds, error))
        finally:
            tasks.cancel_join_thread()
            for process in processes:
                if interrupt.signal is not None and process.is_alive():
                    process.terminate()  # it saves its run first
                process.join()
    return interrupt.exit_code or int(failed > 0)


def _work(cells: list[Cell], workers: Workers, place: int, tasks: Any, results: Any) -> None:
    """Work on cells in one process until none is left."""
    torch.set_num_threads(workers.threads)
    if workers.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = workers.gpus[place % len(workers.gpus)]  # before CUDA starts
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C goes to all; the first process passes it on
    while (number := _next(tasks)) is not None:
        start, error = time.perf_counter(), ""
        try:
            code = run_cell(cells[number], workers.root, workers.cells, workers.device, workers.debug)
            if code:
                sys.exit(code)
        except UserError as mistake:
            error = str(mistake)
        except Exception as fault:
            error = f"{type(fault).__name__}: {fault}"
            if workers.debug or not isinstance(fault, OSError):
                traceback.print_exc()
        results.put((number, time.perf_counter() - start, error))


def _next(tasks: Any) -> int | None:
    """Return the number of the next cell; None if there is none, or the parent has died."""
    parent = parent_process()
    while parent is None or parent.is_alive():
        try:
            return tasks.get(timeout=1)
        except Empty:
            continue
    return None
