"""python -m vje_ppl.train: learn embeddings of images, and how probable they are."""

from vje_ppl.terminal.command import run_command
from vje_ppl.train.run import train


def main() -> None:
    """Entry point of `python -m vje_ppl.train`."""
    run_command(train, "train")


if __name__ == "__main__":
    main()
