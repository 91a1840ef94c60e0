"""Checks of the options of `python -m vje_ppl.evaluate`, before any work."""

from __future__ import annotations

from omegaconf import DictConfig

from vje_ppl.settings.checks import (
    NULL,
    POSITIVE,
    as_list,
    check_names,
    check_run,
    check_table,
    list_of,
    number,
    one_of,
    whole,
)

#: The kinds of evaluation, with the configuration keys that they depend on.
DEPENDS = {
    "knn": ("images", "knn"),
    "whitened_knn": ("images", "knn"),
    "linear": ("images", "linear", "seed"),
    "one_class": ("images", "scores", "one_class", "seed"),
    "ood": ("images", "scores", "ood", "seed"),
    "uncertainty": ("images",),
}

#: Options that were added after the first results were published, with their defaults. They add scores and change none,
#: so at these values they are no part of the name of a result in `vje_ppl.reproduce`.
ADDED = {"scores.only": None, "scores.evidence.samples": 4, "scores.rank_draws": 64, "scores.regret.steps": 50}

_WHOLE, _SHARE = whole(1), number("a share between 0 and 1", lambda share: 0 < share < 1)

OPTIONS = {
    "seed": whole(0),
    "batch_size": _WHOLE,
    "features_mb": number("megabytes, at least 0", lambda size: size >= 0),
    "resume": one_of("auto", "never"),
    "images.bank": whole(2) | NULL,
    "images.test": _WHOLE | NULL,
    "knn.k": list_of("whole numbers of at least 1", _WHOLE),
    "knn.temperature": POSITIVE,
    "linear.lr": list_of("numbers above 0", POSITIVE),
    "linear.epochs": _WHOLE,
    "linear.batch_size": _WHOLE,
    "linear.hold_out": _SHARE,
    "scores.samples": _WHOLE,
    "scores.pairs": _WHOLE,
    "scores.neighbours": _WHOLE,
    "scores.bank": whole(2),
    "scores.aggregate.images": _WHOLE,
    "scores.aggregate.samples": _WHOLE,
    "scores.evidence.samples": _WHOLE,
    "scores.rank_draws": _WHOLE,
    "scores.regret.steps": whole(0),
    "one_class.epochs": whole(0) | NULL,
    "one_class.batch_size": _WHOLE | NULL,
}


def check_options(config: DictConfig) -> None:
    """Check `configs/evaluate.yaml` as composed.

    Raises:
        UserError: for the first invalid option.
    """
    check_run(config.run)
    check_names("eval", as_list(config.eval), DEPENDS)
    check_table(config, OPTIONS)
    from vje_ppl.measures.anomaly.scorer import score_options  # imports torch

    score_options(config)
