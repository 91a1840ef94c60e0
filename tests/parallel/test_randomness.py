import random

import numpy as np
import pytest
import torch

from vje_ppl.parallel.randomness import Stream, keyed_generator


def test_generator_depends_on_its_key_alone():
    first = keyed_generator(Stream.APPEARANCE, 3, 1, 4).random(8)
    keyed_generator(Stream.APPEARANCE, 3, 1, 5).random(100)
    assert np.array_equal(first, keyed_generator(Stream.APPEARANCE, 3, 1, 4).random(8))


@pytest.mark.parametrize(
    ("stream", "key"),
    [
        pytest.param(Stream.BATCH_BOXES, (3, 1, 4), id="stream"),
        pytest.param(Stream.APPEARANCE, (4, 1, 4), id="seed"),
        pytest.param(Stream.APPEARANCE, (3, 2, 4), id="step"),
        pytest.param(Stream.APPEARANCE, (3, 1, 5), id="view"),
        pytest.param(Stream.APPEARANCE, (1, 3, 4), id="order"),
        pytest.param(Stream.APPEARANCE, (3 + 2**32, 1, 4), id="beyond 32 bits"),
    ],
)
def test_every_part_of_the_key_matters(stream, key):
    assert not np.array_equal(
        keyed_generator(Stream.APPEARANCE, 3, 1, 4).random(8), keyed_generator(stream, *key).random(8)
    )


def test_global_generators_stay_where_they_are():
    before = (random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state())
    keyed_generator(Stream.SUBSET).permutation(100)
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
