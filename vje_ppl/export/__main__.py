"""python -m vje_ppl.export: a trained run as safetensors and ONNX, with a model card."""

from __future__ import annotations

from omegaconf import DictConfig

from vje_ppl.settings.checks import check_run
from vje_ppl.terminal.command import run_command


def export(config: DictConfig) -> None:
    """Check the options, and only then import the rest, with torch."""
    check_run(config.run)
    from vje_ppl.export import command

    command.export(config)


def main() -> None:
    """Entry point of `python -m vje_ppl.export`."""
    run_command(export, "export")


if __name__ == "__main__":
    main()
