"""eval=knn: weighted k-NN accuracy after training, on every representation and for every k of a list."""

from __future__ import annotations

from vje_ppl.evaluation.evaluate_options import listed
from vje_ppl.evaluation.evaluated_run import EvaluatedRun, say
from vje_ppl.evaluation.knn import knn_accuracy
from vje_ppl.evaluation.outcome import Outcome

#: Rows of bank and queries that are compared at once: 64 MB of similarities.
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


def evaluate_knn(evaluated: EvaluatedRun) -> Outcome:
    """A row for each representation and k; k is at most half the smallest class (see `largest_k`).

    Returns:
        Rows with encoder, features, k, temperature, bank, queries, top1 and top5.
    """
    options, rows = evaluated.options.knn, []
    for one in evaluated.representations("knn"):
        say("k-NN", one.label)
        for k in listed(options.k):
            result = knn_accuracy(
                one.bank,
                one.bank_labels,
                one.test,
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
                    "k": result.k,
                    "k_asked": k,
                    "temperature": result.temperature,
                    "bank": result.bank_size,
                    "queries": result.queries,
                    "top1": result.top1,
                    "top5": result.top5,
                }
            )
    return Outcome(rows, COLUMNS)
