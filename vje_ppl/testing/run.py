"""Running checks, one by one or all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
import torch

from vje_ppl.testing.report import ConformanceError, Failed, NotRun, Outcome, Report, described

#: Of a `Subject` or a `Density`. Raises `Failed` with a sentence, or `NotRun` with another.
Check = Callable[[Any], None]


@dataclass(frozen=True)
class Checks:
    """The checks of a kind of subject; the names of the functions are those of the checks.

    Attributes:
        structure: the checks that all others need; after the first failure no other check is run.
        behaviour: the other checks, independent of each other.
    """

    structure: tuple[Check, ...]
    behaviour: tuple[Check, ...]

    @property
    def all(self) -> tuple[Check, ...]:
        """Both, in the order in which they run."""
        return self.structure + self.behaviour


def outcome(check: Check, subject: Any) -> Outcome:
    """Run one check, with validation on; Pyro's parameters and torch's random state are restored."""
    name = check.__name__
    try:
        with (
            torch.random.fork_rng(devices=[]),
            pyro.validation_enabled(True),
            pyro.get_param_store().scope(),
            torch.enable_grad(),
        ):
            torch.manual_seed(0)
            check(subject)
    except Failed as finding:
        return Outcome(name, "failed", str(finding))
    except NotRun as reason:
        return Outcome(name, "not run", str(reason))
    except Exception as error:  # any exception of a part is a failure of the part
        return Outcome(name, "failed", f"expected no exception, got {described(error)}.")
    return Outcome(name, "passed")


def report(checks: Checks, subject: Any) -> Report:
    """Run all checks of a kind.

    Raises:
        ConformanceError: if any check failed; it lists them.
    """
    outcomes: list[Outcome] = []
    broken = ""
    for check in checks.all:
        if broken:
            outcomes.append(Outcome(check.__name__, "not run", f"{broken} comes first"))
            continue
        outcomes.append(outcome(check, subject))
        if check in checks.structure and outcomes[-1].verdict == "failed":
            broken = check.__name__
    found = Report(subject.name, tuple(outcomes))
    if found.failed:
        raise ConformanceError(found)
    return found
