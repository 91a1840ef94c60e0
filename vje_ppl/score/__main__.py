"""python -m vje_ppl.score: how unusual images are for a trained run, with p-values among normal images."""

from __future__ import annotations

from omegaconf import DictConfig

from vje_ppl.terminal.command import run_command


def score(config: DictConfig) -> int:
    """Import the command only now, with torch."""
    from vje_ppl.score import command

    return command.score(config)


def main() -> None:
    """Entry point of `python -m vje_ppl.score`."""
    run_command(score, "score")


if __name__ == "__main__":
    main()
