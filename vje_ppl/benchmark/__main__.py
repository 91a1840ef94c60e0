"""python -m vje_ppl.benchmark: speed and memory, as ratios measured in one run."""

from __future__ import annotations

from omegaconf import DictConfig

from vje_ppl.terminal.command import run_command


def benchmark(config: DictConfig) -> int:
    """Import the rest, with torch, after the command line has been read."""
    from vje_ppl.benchmark import command

    return command.benchmark(config)


def main() -> None:
    """Entry point of `python -m vje_ppl.benchmark`."""
    run_command(benchmark, "benchmark")


if __name__ == "__main__":
    main()
