"""The process of one stage: `python -m vje_ppl.benchmark.campaign <stage> <options as JSON>`, started by `run.py`."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pyro
from hydra import initialize_config_module

from vje_ppl.benchmark.campaign.limits import FULL, SMOKE
from vje_ppl.benchmark.campaign.notebook import Notebook
from vje_ppl.errors import UserError
from vje_ppl.parallel.randomness import seed_everything


def main() -> None:
    """Run a stage."""
    stage, options = sys.argv[1], json.loads(sys.argv[2])
    module = importlib.import_module(f"vje_ppl.benchmark.campaign.{stage}")
    seed_everything(0)
    pyro.enable_validation(False)
    notebook = Notebook(Path(options["results"]))
    try:
        if stage in ("correctness", "training"):  # whose commands read configurations themselves
            module.measure(notebook, SMOKE if options["smoke"] else FULL, options)
        else:
            with initialize_config_module("vje_ppl.configs", version_base="1.3"):
                module.measure(notebook, SMOKE if options["smoke"] else FULL, options)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
