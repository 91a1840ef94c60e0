"""What the tests of scores share."""

from __future__ import annotations

import pytest

from tests.measures.anomaly.small import small_program


@pytest.fixture
def program():
    return small_program()
