"""python -m vje_ppl.train: learn embeddings of images, and how probable they are."""

from __future__ import annotations

from omegaconf import DictConfig

from vje_ppl.terminal.command import run_command
from vje_ppl.train.options import checked


def train(config: DictConfig) -> int:
    """Check the options, and only then import the rest, with torch."""
    checked(config)
    from vje_ppl.train import run

    return run.train(config)


def main() -> None:
    """Entry point of `python -m vje_ppl.train`."""
    run_command(train, "train")


if __name__ == "__main__":
    main()
