"""What a process does with memory that tensors freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

#: Counts page faults of each of five steps that take and free 200 tensors of 8 MiB, eight at a time.
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
print(*(after - before for before, after in pairwise(counts)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to keep memory")
def test_kept_memory_is_not_taken_from_the_system_again():
    given_back, kept = (
        [int(count) for count in subprocess.check_output([sys.executable, "-c", _PROGRAM, mode], text=True).split()]
        for mode in ("given back", "kept")
    )
    pages = 200 * 8 * 2**20 // 2**21  # at least: Linux gives anonymous memory in pages of up to 2 MiB
    assert max(given_back) >= pages  # glibc raises its thresholds, so that not every step gives memory back
    assert min(kept) < pages / 10  # the system may also move pages of its own accord
