"""Functions run by several processes that gloo connects, as torchrun would run them."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import distributed

from tests.helpers.processes import CONTEXT

PROCESSES = 2


def together(function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `function(rank, *arguments)`, of the top level of a module, returns in each process; by rank."""
    answers, _ = ended(function, *arguments)
    for good, found in answers:
        assert good, found
    return [found for _, found in answers]


def ended(function: Callable[..., Any], *arguments: Any) -> tuple[list[tuple[bool, Any]], list[int]]:
    """As `together`: whether each process answered and what, or else its traceback; and the exit codes of all."""
    with TemporaryDirectory() as folder:
        pipes = [CONTEXT.Pipe(duplex=False) for _ in range(PROCESSES)]
        started = [
            CONTEXT.Process(target=_run, args=(function, rank, Path(folder) / "store", writer, arguments))
            for rank, (_, writer) in enumerate(pipes)
        ]
        for process in started:
            process.start()
        try:
            answers = [_answer(reader, writer) for reader, writer in pipes]
        finally:
            for process in started:
                process.join(60)
                process.kill()
                process.join()
        codes = [process.exitcode for process in started]
        for process in started:
            process.close()
    return answers, [-1 if code is None else code for code in codes]


def _answer(reader: Connection, writer: Connection) -> tuple[bool, Any]:
    writer.close()  # the process has its own end, with which the pipe ends
    try:
        return pickle.loads(reader.recv_bytes())
    except EOFError:
        return False, "the process ended without an answer"
    finally:
        reader.close()


def _run(function: Callable[..., Any], rank: int, store: Path, writer: Connection, arguments: tuple) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=PROCESSES)
    try:
        answer = function(rank, *arguments)
    except Exception:
        writer.send_bytes(pickle.dumps((False, traceback.format_exc())))
        raise
    writer.send_bytes(pickle.dumps((True, answer)))  # torch's own way shares memory, which ends with this process
    distributed.barrier()
    distributed.destroy_process_group()
