"""Stopping at a safe place: signals that ask for it set a flag that the training loop reads between two steps."""

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
    """While entered, the signals above are noted and nothing else happens; a second SIGINT raises KeyboardInterrupt.

        with Interrupt() as interrupt:
            for batch in batches:
                step(batch)
                if interrupt.signal is not None:
                    save()
                    sys.exit(interrupt.exit_code)

    The handlers of before are back on exit. One that was set for a cluster's warning, as submitit sets it to queue the
    job again, then gets the signal too: it may end the process, so it has to come after the saving. Outside the main
    thread, where Python cannot set handlers, it does nothing. Processes forked meanwhile ignore all but SIGTERM, so
    that a Ctrl-C, which the terminal sends to all, leaves data workers alive until the last step is done.

    Attributes:
        signal: the number of the first signal that came; None before that.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._interrupts = 0
        self._owner = os.getpid()
        self._previous: dict[signal.Signals, object] = {}

    @property
    def exit_code(self) -> int:
        """What to leave the process with: 128 plus the signal's number, as a shell reports it; 0 without a signal."""
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
    """Called once a step by every process with the signal that it has noted, if any; gives all of them the same answer.

    The answer is the largest number that any of them gave in its call before this one, so that processes stop after
    the same step and none is left waiting. It travels between CPUs (gloo), while the step is taken: neither the device
    nor another process is waited for, unless that one is more than a step behind. A single process gets its own back.

    Args:
        processes: how many there are; all of them create it at the same time.
    """

    def __init__(self, processes: int) -> None:
        self._group: Any = distributed.new_group(backend="gloo") if processes > 1 else None
        self._on_the_way: tuple[Any, torch.Tensor] | None = None

    def __call__(self, own: int | None) -> int | None:
        """Return the signal that all of them know of; None while there is none."""
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
