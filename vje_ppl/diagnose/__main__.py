"""python -m vje_ppl.diagnose: can the guide of a trained run be trusted?"""

from __future__ import annotations

from omegaconf import DictConfig

from vje_ppl.diagnose.options import OPTIONS
from vje_ppl.settings.checks import check_table
from vje_ppl.terminal.command import run_command


def diagnose(config: DictConfig) -> int:
    """Check the options, and only then import the rest, with torch."""
    check_table(config, OPTIONS)
    from vje_ppl.diagnose import command

    return command.diagnose(config)


def main() -> None:
    """Entry point of `python -m vje_ppl.diagnose`."""
    run_command(diagnose, "diagnose")


if __name__ == "__main__":
    main()
