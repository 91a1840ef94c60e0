"""eval=ood: can the run tell images of another data set from its own test images?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vje_ppl.errors import UserError
from vje_ppl.evaluate.outcome import Outcome, read_report
from vje_ppl.evaluate.pictures import ood_figure
from vje_ppl.features.opened_run import OpenedRun
from vje_ppl.features.other_data import open_other
from vje_ppl.measures.anomaly.complexity import complexity_correlations
from vje_ppl.measures.anomaly.scorer import score_options, scorer
from vje_ppl.measures.anomaly.tables import notes, ood_table
from vje_ppl.measures.detection import DEFINITIONS, detection
from vje_ppl.settings.checks import as_list
from vje_ppl.terminal.progress import progress


def evaluate_ood(evaluated: OpenedRun) -> Outcome:
    """Score the run's test images and those of each other data set, and compare them.

    Nothing is chosen on these images: scores and their options are fixed beforehand.

    Returns:
        A row for each data set and score.

    Raises:
        UserError: for a data set that is unknown, missing, or the run's own.
    """
    test = evaluated.test
    known = known_names(evaluated)
    others = [open_other(one, evaluated, known) for one in as_list(evaluated.options.ood.data)]
    if not others:
        raise UserError("ood.data expects at least one data set, such as ood.data=[fashion_mnist], got none.")
    progress("OOD", f"in: {evaluated.data.name}, {len(test)} images")
    score = scorer(evaluated)
    _, inside = score(test)
    rows: list[dict[str, Any]] = []
    pictures = {}
    for name, images, how in others:
        progress("OOD", f"out: {name}, {len(images)} images; {how}")
        _, outside = score(images)
        if not evaluated.shards.is_first:
            continue
        pictures[f"ood_{name}.png"] = ood_figure(inside, outside, evaluated.data.name, name)
        correlations = complexity_correlations(inside, outside)
        for ours, theirs, correlation in zip(inside, outside, correlations, strict=True):
            assert ours.kind == theirs.kind
            rows.append(
                {
                    "in": evaluated.data.name,
                    "out": name,
                    "converted": how,
                    **ours.kind.row,
                    "headline": ours.kind.is_headline,
                    **asdict(detection(ours.values, theirs.values)),
                    "complexity_correlation": correlation,
                }
            )
    said = notes(rows, score_options(evaluated.options).wants, evaluated.embedder.program is not None)
    return Outcome(rows, table=ood_table(rows), notes=(DEFINITIONS, *said), pictures=pictures, facts={"names": known})


def known_names(evaluated: OpenedRun) -> dict[str, str]:
    """Return names of other data sets in earlier results of the run folder, each with the digest of its images."""
    earlier = read_report(evaluated.folder).get("ood")
    names = earlier.get("names") if isinstance(earlier, Mapping) else None
    return {str(name): str(images) for name, images in names.items()} if isinstance(names, Mapping) else {}
