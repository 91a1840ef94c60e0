"""JAX, which the second backend needs, leaves the GPU's memory to torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tests.helpers.commands import environment

#: Most memory in bytes that JAX may take: its context and what it computes. Unguarded, it reserves three quarters.
MOST = 2e9

CODE = """
import os
{first}
import jax
import jax.numpy as jnp
jnp.ones(8).sum().block_until_ready()
assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
print(jax.default_backend())
input()
"""


FIRST = {
    "numpyro_port": "from vje_ppl.numpyro_port.memory import leave_memory_to_torch; leave_memory_to_torch()",
    "diagnose": "from vje_ppl.diagnose.__main__ import configure_jax; configure_jax()",
}


@pytest.mark.parametrize("first", FIRST)
def test_jax_beside_torch_reserves_no_memory(device, first):
    free = torch.cuda.mem_get_info()[0] if device.type == "cuda" else None
    with subprocess.Popen(
        [sys.executable, "-c", CODE.format(first=FIRST[first])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={name: value for name, value in environment().items() if not name.startswith("JAX_")},
        text=True,
    ) as process:
        backend = process.stdout.readline().strip()
        taken = 0 if free is None else free - torch.cuda.mem_get_info()[0]
        process.communicate("\n")
    assert process.returncode == 0
    assert taken < MOST
    if first == "diagnose" or device.type == "cpu":
        assert backend == "cpu"
        assert taken < 1e8  # other processes of the GPU apart
