"""What stands beside every method: k-NN on the untrained network and on raw pixels, as training measured it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vje_ppl.compare.rows import Statistic
from vje_ppl.reproduce.results import Record, one_a_seed, over_seeds

#: By name: the features, and where the metrics of a run have their accuracy.
REFERENCES = {"untrained": ("z", "knn/untrained_z"), "raw pixels": ("pixels", "knn/pixels")}


def references(records: Sequence[Record]) -> Iterator[tuple[str, str, Statistic, int]]:
    """Name, features, accuracy and number of seeds of what was not trained; raw pixels have no seed.

    Args:
        records: of one data set, whatever their methods.
    """
    by_seed = one_a_seed(records)
    for name, (features, key) in REFERENCES.items():
        values = [one["metrics"].get(key) for one in (by_seed if features == "z" else by_seed[:1])]
        found, count = over_seeds([{"top1": value} for value in values], lambda one: one["top1"])
        if found is not None:
            yield name, features, found, count
