"""A change of what users read shows in a review."""

from __future__ import annotations

from tests.terminal.messages import FILE, messages


def test_messages_are_those_on_file():
    assert messages() == FILE.read_text(encoding="utf-8"), "run python -m tests.terminal.messages and read its diff"
