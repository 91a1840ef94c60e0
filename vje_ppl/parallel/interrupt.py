"""Stopping at a safe place: signals set a flag that the training loop reads between two steps."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import distributed

#: Clusters send SIGUSR1 or, through submitit, SIGUSR2 some time before they end a job.
WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
SIGNALS = (signal.SIGINT, signal.SIGTERM, *WARNINGS)


class Interrupt:
    """A context in which the signals above are only recorded; a second SIGINT raises KeyboardInterrupt.

        with Interrupt() as interrupt:
            for batch in batches:
                step(batch)
                if interrupt.signal is not None:
                    save()
                    sys.exit(interrupt.exit_code)

    The earlier handlers are restored on exit. A handler for a cluster's warning, such as submitit's, which queues the
    job again, then gets the signal too: it may end the process, so it has to run after the checkpoint is saved. Outside
    the main thread, where Python cannot set handlers, the context does nothing. Processes forked inside it ignore all
    signals but SIGTERM, so that a Ctrl-C, which the terminal sends to all processes, leaves data workers alive until
    the last step is done.

    Attributes:
        signal: the number of the first signal received; None before that.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._interrupts = 0
        self._owner = os.getpid()
        self._previous: dict[signal.Signals, object] = {}

    @property
    def exit_code(self) -> int:
        """The exit code of the process: 128 plus the signal's number, as in a shell; 0 without a signal."""
        return 0 if self.signal is None else 128 + self.signal

    def __enter__(self) -> Interrupt:
        self.signal, self._interrupts, self._owner = None, 0, os.getpid()
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        previous, self._previous = self._previous, {}
        for number, handler in previous.items():
            # None stands for a handler that was set outside Python, which Python cannot set again
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]
        if kind is None and self.signal in WARNINGS and callable(previous.get(signal.Signals(self.signal))):
            os.kill(os.getpid(), self.signal)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        if self.signal is None:
            self.signal = number
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt


class AgreedSignal:
    """Agrees on a signal: every process calls it once per step with its signal, if any; all get the same answer.

    The answer is the largest number that any process gave in its previous call, so that all processes stop after the
    same step and none is left waiting. It is sent between CPUs (gloo) during the step: no process waits for the device
    or for another process, unless that process is more than a step behind. A single process gets its own signal.

    Args:
        processes: the number of processes; all of them create it at the same time.
    """

    def __init__(self, processes: int) -> None:
        self._group: Any = distributed.new_group(backend="gloo") if processes > 1 else None
        self._on_the_way: tuple[Any, torch.Tensor] | None = None

    def __call__(self, own: int | None) -> int | None:
        """Return the signal that all processes know of; None while there is none."""
        if self._group is None:
            return own
        agreed = self._arrived()
        number = torch.tensor([own or 0])
        work = distributed.all_reduce(number, distributed.ReduceOp.MAX, self._group, async_op=True)
        self._on_the_way = work, number
        return agreed

    def _arrived(self) -> int | None:
        if self._on_the_way is None:
            return None
        work, number = self._on_the_way
        work.wait()
        return int(number) or None
