"""python -m vje_ppl.reproduce: the paper's figures and tables, with a budget for two cores or the paper's budget."""

from __future__ import annotations

from omegaconf import DictConfig

from vje_ppl.terminal.command import run_command


def reproduce(config: DictConfig) -> int:
    """Import the rest, with torch, after the command line has been read."""
    from vje_ppl.reproduce import command

    return command.reproduce(config)


def main() -> None:
    """Entry point of `python -m vje_ppl.reproduce`."""
    run_command(reproduce, "reproduce")


if __name__ == "__main__":
    main()
