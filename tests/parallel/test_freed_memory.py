"""What a process does with memory that tensors freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

#: Counts page faults of a step that takes and frees 200 tensors of 8 MiB, eight at a time: the least of five steps,
#: since the system may also move pages of its own accord.
_PROGRAM = """
import resource, sys, torch
from itertools import pairwise
from vje_ppl.parallel.freed_memory import keep_freed_memory

def step():
    for _ in range(25):
        tensors = [torch.ones(2 * 2**20) for _ in range(8)]

if sys.argv[1] == "kept":
    assert keep_freed_memory()
counts = []
for _ in range(6):
    step()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(min(after - before for before, after in pairwise(counts)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to keep memory")
def test_kept_memory_is_not_taken_from_the_system_again():
    given_back, kept = (
        int(subprocess.run([sys.executable, "-c", _PROGRAM, mode], capture_output=True, text=True, check=True).stdout)
        for mode in ("given back", "kept")
    )
    pages = 200 * 8 * 2**20 // 2**21  # at least: Linux gives anonymous memory in pages of up to 2 MiB
    assert given_back >= pages
    assert kept < pages / 10
