"""The results of checks, a sentence each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hydra.errors import InstantiationException


class Failed(Exception):
    """A check's finding, in one sentence: what was expected, what came, what to do."""


class NotRun(Exception):
    """The reason why a check does not apply."""


@dataclass(frozen=True)
class Outcome:
    """The result of a check.

    Attributes:
        check: its name.
        verdict: whether it passed, failed, or was not run.
        sentence: the failure, or why the check was not run; empty if it passed.
    """

    check: str
    verdict: Literal["passed", "failed", "not run"]
    sentence: str = ""

    def __str__(self) -> str:
        return f"{self.verdict:8}{self.check}" + (f": {self.sentence}" if self.sentence else "")


@dataclass(frozen=True)
class Report:
    """The results of all checks of a part; printed, a line per check.

    Attributes:
        subject: the part's name.
        outcomes: one per check, in order of execution.
    """

    subject: str
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Those that failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.verdict == "failed")

    def __str__(self) -> str:
        summary = f"{self.subject} fails {len(self.failed)} of {len(self.outcomes)} checks"
        if not self.failed:
            passed = sum(outcome.verdict == "passed" for outcome in self.outcomes)
            summary = f"{self.subject} passes {passed} of {len(self.outcomes)} checks"
        return "\n".join([f"{summary}:", *(f"  {outcome}" for outcome in self.outcomes)])


class ConformanceError(AssertionError):
    """A part that fails checks.

    Attributes:
        report: all results.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def described(error: BaseException) -> str:
    """Return an exception in a clause: its type, its message, and the line that raised it."""
    while (
        isinstance(error, InstantiationException) and error.__cause__ is not None
    ):  # Hydra's wrapping is not informative
        error = error.__cause__
    text = (str(error).strip() or "no message").splitlines()[0].rstrip(".")
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" (in {trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})"
    return f"{type(error).__name__}: {text}{where}"
