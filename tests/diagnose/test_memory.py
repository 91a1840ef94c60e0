"""A request that would not fit says so, with its bytes."""

import pytest
from omegaconf import OmegaConf

from vje_ppl.diagnose.options import check_memory
from vje_ppl.errors import UserError

CONFIG = {"samples": 1000, "nuts": {"chains": 4, "draws": 500}}
BYTES = 4 * 1000 * 100 * 512 + 8 * 2 * 9 * 1000 * 8 * 100 + 4 * 4 * 100 * 4 * 500 * (512 + 5)


def check(memory_mb):
    check_memory(OmegaConf.create(CONFIG | {"memory_mb": memory_mb}), images=100, dim=512, targets=8, powers=2)


def test_check_memory_says_how_many_bytes_a_request_would_take():
    with pytest.raises(UserError, match=rf"{BYTES:,} bytes \({4 * 1000 * 100 * 512:,} for draws of the guide"):
        check(BYTES / 1e6 - 1)


def test_check_memory_lets_pass_what_fits():
    check(BYTES / 1e6 + 1)
    check(4096)  # a hundred images of 512 features fit the default
