"""What a process does with memory that tensors freed."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

#: Prints how many bytes the C library holds, by its own books, while 64 MiB of tensors live and after they are freed.
#: The system's counts of page faults and of resident memory will not do: some systems do not keep them.
_PROGRAM = """
import ctypes, sys, torch
from vje_ppl.parallel.freed_memory import keep_freed_memory

class Mallinfo2(ctypes.Structure):  # mallinfo(3) of the Linux manual
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2

def held():
    books = mallinfo2()
    return books.arena + books.hblkhd  # the heap, and the blocks that are mappings of their own

if sys.argv[1] == "kept":
    assert keep_freed_memory()
for _ in range(5):
    tensors = [torch.ones(2 * 2**20) for _ in range(8)]
    print(held(), end=" ")
    del tensors
    print(held())
"""


@pytest.mark.skipif(
    not (sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallinfo2")),
    reason="only glibc from 2.33 on can be asked to keep memory and how much it holds",
)
def test_freed_memory_is_kept():
    given_back, kept = (
        [int(before) - int(after) for before, after in (line.split() for line in _output(mode).splitlines())]
        for mode in ("given back", "kept")
    )
    assert max(given_back) >= 8 * 2**20  # a tensor at least; glibc raises its thresholds, so not in every step
    assert max(kept) <= 0


def _output(mode: str) -> str:
    return subprocess.check_output([sys.executable, "-c", _PROGRAM, mode], text=True)
