"""The tests marked `gpu`, on the device of the campaign."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any

import vje_ppl
from vje_ppl.benchmark.campaign.limits import Sizes
from vje_ppl.benchmark.campaign.notebook import Notebook

TESTS = Path(vje_ppl.__file__).parents[1] / "tests" / "gpu"


class Outcomes:
    """A plugin of pytest that keeps the outcome of each test as soon as it is known."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook
        self._tests: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep an outcome, and the last line of an error."""
        if report.when != "call" and report.outcome == "passed":
            return
        outcome = report.outcome
        if outcome == "failed":
            outcome += f": {str(report.longrepr).splitlines()[-1]}"
        self._tests[report.nodeid] = outcome
        counts = Counter(outcome.partition(":")[0] for outcome in self._tests.values())
        names = [name for name, outcome in self._tests.items() if outcome.startswith("failed")]
        self._notebook.write(
            passed=counts["passed"],
            failed=counts["failed"],
            skipped=counts["skipped"],
            **({"failed_tests": "; ".join(names)} if names else {}),
            tests=dict(self._tests),
        )


def measure(notebook: Notebook, sizes: Sizes, options: dict[str, Any]) -> None:
    """Run the tests, each of whose outcomes is kept, and leave with an error if one fails."""
    if not TESTS.is_dir() or importlib.util.find_spec("pytest") is None:
        notebook.write(tests="not run: they need a checkout of the project and pip install 'vje_ppl[dev]'")
        return
    import pytest

    arguments = [str(TESTS), f"--device={options['device']}", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    # This process has imported the package, so its types and shapes are not checked.
    arguments += ["-o", "addopts=--strict-markers", "-W", "ignore:Module already imported"]
    arguments += [f"--ignore={TESTS / name}" for name in sizes.left_out]
    code = pytest.main([*arguments, f"--rootdir={TESTS.parents[1]}"], plugins=[Outcomes(notebook)])
    if code:
        raise SystemExit(f"pytest left with {code}")
