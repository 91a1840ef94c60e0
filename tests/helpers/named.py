"""What every report of a planted fault must look like."""

from __future__ import annotations

from vje_ppl.testing import ConformanceError


def assert_named(error: ConformanceError, checks: set[str]) -> None:
    """These checks failed and no others, each with one sentence."""
    assert {outcome.check for outcome in error.report.failed} == checks, error
    for outcome in error.report.failed:
        assert outcome.sentence.startswith("expected ")
        assert outcome.sentence.endswith(".")
        assert "\n" not in outcome.sentence
