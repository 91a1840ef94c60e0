"""A request that would not fit says so, with its bytes."""

import pytest

from vje_ppl.diagnose.options import Request, check_memory
from vje_ppl.errors import UserError

REQUEST = Request(images=100, dim=512, targets=8, samples=1000, chains=4, draws=500, powers=2)


def test_check_memory_says_how_many_bytes_a_request_would_take():
    assert REQUEST.parts["draws of the guide"] == 1000 * 100 * 512 * 4
    with pytest.raises(UserError, match=f"{REQUEST.bytes:,} bytes"):
        check_memory(REQUEST, REQUEST.bytes / 1e6 - 1)


def test_check_memory_lets_pass_what_fits():
    check_memory(REQUEST, REQUEST.bytes / 1e6 + 1)
    assert REQUEST.bytes < 4096e6  # a hundred images of 512 features fit the default
