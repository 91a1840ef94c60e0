"""python -m vje_ppl.evaluate: downstream measures of a trained run, beside raw pixels and the untrained network."""

from __future__ import annotations

from omegaconf import DictConfig

from vje_ppl.evaluate.options import check_options
from vje_ppl.terminal.command import run_command
from vje_ppl.terminal.results import EvaluationResults


def evaluate(config: DictConfig) -> EvaluationResults:
    """Check the options, and only then import the rest, with torch."""
    check_options(config)
    from vje_ppl.evaluate import command

    return command.evaluate(config)


def main() -> None:
    """Entry point of `python -m vje_ppl.evaluate`."""
    run_command(evaluate, "evaluate")


if __name__ == "__main__":
    main()
