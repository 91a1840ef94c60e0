"""python -m vje_ppl.diagnose: can the guide of a trained run be trusted?"""

from __future__ import annotations

import os

from omegaconf import DictConfig

from vje_ppl.diagnose.options import OPTIONS
from vje_ppl.numpyro_port.memory import leave_memory_to_torch
from vje_ppl.settings.checks import check_table
from vje_ppl.terminal.command import run_command
from vje_ppl.terminal.results import DiagnosisResults


def diagnose(config: DictConfig) -> DiagnosisResults:
    """Check the options, and only then import the rest, with torch."""
    check_table(config, OPTIONS)
    configure_jax()
    from vje_ppl.diagnose import command

    return command.diagnose(config)


def configure_jax() -> None:
    """Keep JAX, which samples posteriors, on the CPU, unless the environment says otherwise."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    leave_memory_to_torch()


def main() -> None:
    """Entry point of `python -m vje_ppl.diagnose`."""
    run_command(diagnose, "diagnose")


if __name__ == "__main__":
    main()
