"""Runs decoding workers over lists of image files, and turns errors into messages."""

from __future__ import annotations

import atexit
import logging
import weakref
from collections.abc import Iterable, Iterator
from functools import partial

import torch
from torch.utils.data import DataLoader, Sampler

from vje_ppl.data.cut_files import AllCuts, BatchOfCuts, CentralCuts, RandomCuts, collate_cuts, start_worker
from vje_ppl.errors import UserError

_log = logging.getLogger(__name__)


class FileLoader:
    """Reads batch after batch of image files, in order, ahead of their use.

    Args:
        cuts: reads a file.
        workers: decoding processes, kept from one pass to the next; 0 decodes in this process.
        pin: whether to return page-locked memory, from which copies to a GPU need not be waited for.
        warn: whether to warn of files that were left out.
    """

    def __init__(self, cuts: RandomCuts | CentralCuts | AllCuts, workers: int, *, pin: bool, warn: bool = True) -> None:
        if workers < 0:
            raise UserError(f"data.workers must be 0 or more, got {workers}.")
        self._keys = _Keys()
        self._known_skips, self._warn = cuts.known_skips, warn
        self._loader = DataLoader(
            cuts,
            batch_sampler=self._keys,
            num_workers=workers,
            collate_fn=collate_cuts,
            worker_init_fn=start_worker,
            persistent_workers=workers > 0,
            pin_memory=pin,
            generator=torch.Generator(),  # else each pass would draw a seed from the global generator
        )
        # Workers outlive a SIGTERM for a while, so close them explicitly when this process ends.
        self._at_exit = partial(_close, weakref.ref(self))
        atexit.register(self._at_exit)

    def read(self, batches: Iterable[list]) -> Iterator[BatchOfCuts]:
        """Yield the cuts of the files, a batch for each list of keys; one pass at a time.

        Raises:
            UserError: if a file is unusable and not skipped, or if a worker dies.
        """
        self._keys.batches = iter(batches)
        skipped: dict[str, None] = {}
        try:
            for batch in self._loader:
                skipped |= dict.fromkeys(batch.skipped)
                if batch.failure is not None:
                    raise UserError(batch.failure)
                yield batch
        except Exception as error:
            self.close()
            if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
                raise UserError(_worker_died(error)) from error
            raise
        finally:
            if self._warn:
                warn_of_skips([message for message in skipped if message not in self._known_skips])
                self._known_skips.update(skipped)

    def close(self) -> None:
        """End the workers; nothing can be read afterwards."""
        atexit.unregister(self._at_exit)
        # If this is left to the garbage collector, workers may miss the message, and closing waits for them.
        shut_down = getattr(getattr(self._loader, "_iterator", None), "_shutdown_workers", None)
        if shut_down is not None:
            shut_down()


def _worker_died(error: RuntimeError) -> str:
    return (
        "a worker that decodes images died, perhaps for want of memory or shared memory; try a smaller batch_size, "
        f"fewer data.workers, or data.workers=0 ({str(error).splitlines()[0].rstrip('.')})."
    )


def warn_of_skips(messages: list[str], shown: int = 3) -> None:
    """Warn in one line how many files were left out, with the reason for the first."""
    if messages:
        more = f", and {len(messages) - shown} more" if len(messages) > shown else ""
        _log.warning("left out %d unusable image file(s): %s%s", len(messages), "; ".join(messages[:shown]), more)


class _Keys(Sampler[list]):
    """The batches to read next, set before each pass."""

    def __init__(self) -> None:
        self.batches: Iterator[list] = iter(())

    def __iter__(self) -> Iterator[list]:
        return self.batches


def _close(reference: weakref.ref[FileLoader]) -> None:
    loader = reference()
    if loader is not None:
        loader.close()
