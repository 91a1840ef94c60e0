"""python -m vje_ppl.benchmark: speed and memory, as ratios measured in one run."""

from __future__ import annotations

from omegaconf import DictConfig

from vje_ppl.benchmark.options import checked_names
from vje_ppl.terminal.command import run_command


def benchmark(config: DictConfig) -> int:
    """Check the options, and only then import the rest, with torch."""
    names = checked_names(config)
    if config.on:
        from vje_ppl.benchmark.campaign.run import campaign

        return campaign(config, names)
    from vje_ppl.benchmark import command

    return command.benchmark(config, names)


def main() -> None:
    """Entry point of `python -m vje_ppl.benchmark`."""
    run_command(benchmark, "benchmark")


if __name__ == "__main__":
    main()
