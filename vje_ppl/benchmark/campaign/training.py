"""One training run with its evaluation, and models of one class, by the project's own commands."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra

from vje_ppl.benchmark.campaign.limits import Sizes
from vje_ppl.benchmark.campaign.notebook import Notebook

#: The classes of which models of one class are trained.
CLASSES = (0, 1, 2)

#: Most epochs of the run; the digits take no longer.
MOST_EPOCHS = 400

#: The scores that their test images get.
SCORES = ("conditional", "joint", "mahalanobis", "knn_distance")


def measure(notebook: Notebook, sizes: Sizes, options: dict[str, Any]) -> None:
    """Time two epochs, train for as many as fit, evaluate, and train models of one class."""
    common = [*_data(options["data_root"]), f"run.root={options['folder']}", f"trainer.device={options['device']}"]
    common += ["knn.every=0", "trainer.progress=false"]
    if options["smoke"]:
        common += ["data.subset=256", "batch_size=64"]
    else:
        batch = sizes.batch if options["data_root"] else 128
        common += [f"encoder={sizes.encoder}", f"batch_size={batch}"]
    _command("train", *common, "run.name=timed", "trainer.epochs=2")
    rows = _rows(Path(options["folder"]) / "timed")
    seconds = float(rows[-1]["seconds"])
    epochs = 2 if options["smoke"] else min(MOST_EPOCHS, max(2, int(sizes.epochs_s / seconds)))
    notebook.write(data=options["data_root"] or "digits", epoch_s=seconds, epochs=epochs)

    run = Path(options["folder"]) / "run"
    _command("train", *common, "run.name=run", f"trainer.epochs={epochs}")
    last = _rows(run)[-1]
    notebook.write(images_per_s=float(last["images_per_s"]), wait_share=float(last["wait_share"]))

    device = f"device={options['device']}"
    quick = ["linear.epochs=2", "linear.lr=[0.03]"] if options["smoke"] else ["linear.epochs=20"]
    _command("evaluate", f"run={run}", device, "eval=[knn,linear]", *quick)
    report = _evaluation(run)
    for kind in ("knn", "linear"):
        for row in report[kind]["rows"]:
            if row["encoder"] != "untrained":
                notebook.write(**{_name(kind, row): float(row["top1"])})

    chosen = [f"one_class.classes=[{','.join(map(str, CLASSES))}]", f"one_class.epochs={sizes.one_class_epochs}"]
    scores = [f"scores.only=[{','.join(SCORES)}]", "scores.views=[augmented-augmented]"]
    scores += ["scores.samples=4", "scores.pairs=2"]
    _command("evaluate", f"run={run}", device, "eval=one_class", *chosen, *scores)
    outcome = _evaluation(run)["one_class"]["rows"]
    means = [row for row in outcome if row["class"] == "mean"]
    notebook.write(**{f"one_class_auroc_{_score_name(row)}": float(row["auroc"]) for row in means})


def _data(root: str | None) -> list[str]:
    """Return overrides for CIFAR-10 in torchvision's format or as images by class, or for the digits."""
    if root is None:
        return []
    if (Path(root) / "cifar-10-batches-py").is_dir():
        return ["data=cifar10", f"data.root={root}"]
    return ["data=image_folder", f"data.root={root}", "augment=cifar"]


def _command(name: str, *overrides: str) -> None:
    """Run a command in this process, so that torch is imported only once."""
    print(f"python -m vje_ppl.{name} {' '.join(overrides)}", flush=True)
    GlobalHydra.instance().clear()
    sys.argv[1:] = overrides
    try:
        importlib.import_module(f"vje_ppl.{name}.__main__").main()
    except SystemExit as left:
        if left.code:
            raise


def _rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _evaluation(run: Path) -> dict[str, Any]:
    return json.loads((run / "evaluation.json").read_text(encoding="utf-8"))


def _name(kind: str, row: dict[str, Any]) -> str:
    k = f"_k{row['k']}" if "k" in row else ""
    return f"{kind}_{row['features']}{k}_top1"


def _score_name(row: dict[str, Any]) -> str:
    parts = [str(row[key]) for key in ("score", "views", "pair") if row.get(key)]
    return "_".join(parts).replace("-", "_").replace(" ", "_")
