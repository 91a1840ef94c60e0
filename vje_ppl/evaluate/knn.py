"""eval=knn and eval=whitened_knn: weighted k-NN accuracy after training, on every representation and for every k."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vje_ppl.evaluate.outcome import Outcome
from vje_ppl.features.extract import Representation, stored_rows
from vje_ppl.features.opened_run import OpenedRun
from vje_ppl.measures.knn import accuracy, knn_ranks
from vje_ppl.measures.whitening import Whitening
from vje_ppl.settings.checks import as_list
from vje_ppl.terminal.progress import progress

#: Rows of bank and queries to compare at once: 64 MB of similarities.
CHUNK = 4096

COLUMNS = {
    "encoder": "encoder",
    "features": "features",
    "k": "k-NN k",
    "temperature": "T",
    "top1": "top-1",
    "top5": "top-5",
    "bank": "bank",
    "queries": "queries",
}


def evaluate_knn(evaluated: OpenedRun) -> Outcome:
    """Return a row for each representation and k; k is at most half the smallest class (see `largest_k`).

    Returns:
        Rows with encoder, features, k, temperature, bank, queries, top1 and top5.
    """
    rows = []
    for one in evaluated.representations("knn"):
        progress("k-NN", one.label)
        rows += _rows(evaluated, one, one.bank, one.test)
    return Outcome(rows, COLUMNS)


def evaluate_whitened_knn(evaluated: OpenedRun) -> Outcome:
    """Return the same on features whitened by the mean and covariance of the bank (see `Whitening`).

    Returns:
        Rows like those of `evaluate_knn`, with the number of images behind the covariance, and its participation ratio.
    """
    rows = []
    for one in evaluated.representations("whitened_knn"):
        progress("k-NN", f"{one.label}, whitened")
        whitening = Whitening.of(one.bank)
        facts = {"fitted_to": whitening.images, "participation_ratio": whitening.participation_ratio}
        bank, test = (_whitened(evaluated, features, whitening) for features in (one.bank, one.test))
        rows += [row | facts for row in _rows(evaluated, one, bank, test)]
    return Outcome(rows, COLUMNS | {"participation_ratio": "participation ratio"})


def _whitened(evaluated: OpenedRun, features: Tensor, whitening: Whitening) -> Tensor:
    """Whiten all rows, in memory or in a nameless file as the features."""
    columns = whitening.matrix.shape[1]
    rows = stored_rows(len(features), columns, evaluated.options.features_mb, evaluated.folder)
    for start in range(0, len(features), CHUNK):
        rows[start : start + CHUNK] = whitening(features[start : start + CHUNK])
    return rows


def _rows(evaluated: OpenedRun, one: Representation, bank: Tensor, test: Tensor) -> list[dict[str, Any]]:
    options, rows = evaluated.options.knn, []
    for k in as_list(options.k):
        used, ranks = knn_ranks(
            bank,
            one.bank_labels,
            test,
            one.test_labels,
            k=k,
            temperature=options.temperature,
            num_classes=evaluated.data.num_classes or 0,
            chunk=CHUNK,
            device=evaluated.device,
        )
        rows.append(
            {
                **one.row,
                "k": used,
                "k_asked": k,
                "temperature": float(options.temperature),
                "bank": len(bank),
                "queries": len(test),
                "top1": accuracy(ranks),
                "top5": accuracy(ranks, best=5),
            }
        )
    return rows
