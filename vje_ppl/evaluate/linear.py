"""eval=linear: accuracy of a linear probe after training, on every representation."""

from __future__ import annotations

from vje_ppl.evaluate.outcome import Outcome
from vje_ppl.features.opened_run import OpenedRun
from vje_ppl.measures.linear_probe import MOMENTUM, LinearRecipe, linear_probe
from vje_ppl.settings.checks import as_list
from vje_ppl.terminal.progress import progress

COLUMNS = {
    "encoder": "encoder",
    "features": "features",
    "lr": "linear lr",
    "best_hold_out": "top-1 on hold-out",
    "top1": "top-1",
    "top5": "top-5",
    "epochs": "epochs",
    "batch_size": "batch",
    "train": "train",
    "test": "test",
}


def evaluate_linear(evaluated: OpenedRun) -> Outcome:
    """Return a row for each representation.

    Returns:
        Rows with encoder, features, recipe, chosen learning rate, accuracies on the hold-out, top1 and top5.
    """
    options, rows = evaluated.options.linear, []
    recipe = LinearRecipe(
        tuple(float(rate) for rate in as_list(options.lr)),
        options.epochs,
        options.batch_size,
        options.hold_out,
        evaluated.options.seed,
    )
    for one in evaluated.representations("linear"):
        result = linear_probe(
            one.bank,
            one.bank_labels,
            one.test,
            one.test_labels,
            num_classes=evaluated.data.num_classes or 0,
            recipe=recipe,
            device=evaluated.device,
        )
        edge = ", an end of the grid: widen linear.lr to see whether it goes on" if result.at_edge else ""
        progress("linear", f"{one.label}: lr {result.learning_rate:g} of {list(recipe.learning_rates)}{edge}")
        rows.append(
            {
                **one.row,
                "lr": result.learning_rate,
                "epochs": recipe.epochs,
                "batch_size": recipe.batch_size,
                "momentum": MOMENTUM,
                "schedule": "cosine",
                "hold_out": recipe.hold_out,
                "hold_out_top1": {f"{rate:g}": value for rate, value in result.hold_out_top1.items()},
                "lr_at_edge": result.at_edge,
                "best_hold_out": result.hold_out_top1.get(result.learning_rate),
                "train": len(one.bank_labels),
                "test": len(one.test_labels),
                "top1": result.top1,
                "top5": result.top5,
            }
        )
    return Outcome(rows, COLUMNS)
