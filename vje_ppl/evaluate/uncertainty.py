"""eval=uncertainty: does the uncertainty of an image know whether its nearest neighbour is of another class?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from vje_ppl.errors import UserError
from vje_ppl.evaluate.outcome import Outcome
from vje_ppl.evaluate.pictures import uncertainty_figure
from vje_ppl.features.embedder import Embedder
from vje_ppl.features.opened_run import OpenedRun
from vje_ppl.measures.retrieval import uncertain_retrieval
from vje_ppl.methods.method import UncertainDensity
from vje_ppl.program.moments import moments
from vje_ppl.settings.groups import method_name

COLUMNS = {
    "features": "features",
    "uncertainty": "uncertainty",
    "r_auroc": "R-AUROC",
    "recall_at_1": "Recall@1",
    "aurc": "AURC",
    "aurc_oracle": "oracle",
    "aurc_random": "random",
    "images": "images",
}

NOTE = (
    "The nearest neighbour by cosine among the other test images is an error if it is of another class. R-AUROC: AUROC "
    "of the uncertainty with errors as positives, 0.5 is chance. AURC: the mean share of errors among the most certain "
    "images, over all coverages; lower is better; oracle: all errors last; random: the share of errors."
)
_CHUNK = 1024


def evaluate_uncertainty(evaluated: OpenedRun) -> Outcome:
    """Compare the uncertainty of test images with errors of retrieval among them.

    Returns:
        A row for each kind of features.

    Raises:
        UserError: for a method without an uncertainty, or images without labels.
    """
    embedder, test = evaluated.embedder, evaluated.test
    if embedder.program is None and not isinstance(embedder.density, UncertainDensity):
        raise UserError(
            f"eval=uncertainty needs a method that says how certain it is of an image, such as vje or vi_simsiam, and "
            f"the run's is {method_name(evaluated.run.config)}."
        )
    if test.labels is None:
        raise UserError(f"eval=uncertainty needs labels for test images, but those of {evaluated.data.name} have none.")
    features = evaluated.features(embedder, test)
    if not evaluated.shards.is_first:
        return Outcome([])
    labels = test.labels[features.images]
    known = labels >= 0
    name, uncertainty = uncertainty_of(embedder, features.by_name["z"][known], evaluated.device)
    rows: list[dict[str, Any]] = []
    curves = {}
    for kind, values in features.by_name.items():
        found = uncertain_retrieval(values[known], labels[known], uncertainty)
        curves[kind] = found.curve
        rows.append(
            {
                "encoder": "trained",
                "features": kind,
                "uncertainty": name,
                "images": int(known.sum()),
                "recall_at_1": found.recall,
                "r_auroc": found.r_auroc,
                "aurc": found.curve.area,
                "aurc_oracle": found.curve.oracle,
                "aurc_random": found.curve.random,
            }
        )
    figure = uncertainty_figure(curves, name, evaluated.folder.resolve().name)
    return Outcome(rows, COLUMNS, notes=(NOTE,), pictures={"uncertainty.png": figure})


@torch.no_grad()
def uncertainty_of(
    embedder: Embedder, z: Float[Tensor, "N D"], device: torch.device
) -> tuple[str, Float64[np.ndarray, " N"]]:
    """Return the uncertainty of N images by name: Σ log σ² of a posterior's draws, or that of a predicted density.

    Args:
        embedder: with a program, or a density that has an uncertainty.
        z: embeddings of the images without augmentation.
        device: where to compute.
    """
    program, density = embedder.program, embedder.density
    parts = []
    for chunk in z.split(_CHUNK):
        chunk = chunk.to(device)
        if program is not None:
            parts.append(2 * moments(program.guide.infer(chunk))[1].double().log().sum(-1))
        else:
            assert isinstance(density, UncertainDensity)
            parts.append(density.uncertainty(chunk).double())
    return "Σ log σ²" if program is not None else "−log κ", torch.cat(parts).cpu().numpy()
