"""How the time of a step grows with its sizes, and k-NN over a bank of ImageNet's size in main memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from hydra import compose

from vje_ppl.benchmark import scaling
from vje_ppl.benchmark.campaign.limits import Sizes
from vje_ppl.benchmark.campaign.notebook import Notebook


def measure(notebook: Notebook, sizes: Sizes, options: dict[str, Any]) -> None:
    """Measure the objective's step over its sizes, then k-NN."""
    device = torch.device(options["device"])
    config = compose("train", ["encoder=small_resnet", "augment=cifar"])
    grid = {size: values[:3] for size, values in scaling.GRID.items()} if options["smoke"] else scaling.GRID
    times = scaling.objective_times(config, device, sizes.seconds / 30, grid)
    notebook.write(**scaling.summary(times), times_s=times)
    scaling.draw(times, Path(options["output"]).with_suffix(".png"))
    for bank in (sizes.bank // 16, sizes.bank):
        (row,) = scaling.knn_times([bank], sizes.features, sizes.queries, device, torch.float16)
        notebook.write(**{f"knn_{bank}_{name}": value for name, value in row.items() if name != "bank"})
