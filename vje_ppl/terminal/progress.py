"""Lines of progress."""

from __future__ import annotations

from vje_ppl.errors import printable
from vje_ppl.parallel.processes import is_first


def say(stage: str, line: str) -> None:
    """One line of progress, of the first process alone."""
    if is_first():
        print(f"{stage:<10}{printable(line)}", flush=True)
