"""Lines of progress."""

from __future__ import annotations

from vje_ppl.errors import printable
from vje_ppl.parallel.processes import is_first


def progress(stage: str, line: str) -> None:
    """Print a line of progress in the first process."""
    if is_first():
        print(f"{stage:<10}{printable(line)}", flush=True)
