"""Checks of the options of `python -m vje_ppl.score`, before any work."""

from __future__ import annotations

from omegaconf import DictConfig

from vje_ppl.errors import UserError
from vje_ppl.score.setting import score_setting
from vje_ppl.settings.checks import check_run, check_table, number, one_of, whole

_WHOLE = whole(1)

OPTIONS = {
    "seed": whole(0),
    "batch_size": _WHOLE,
    "workers": whole(0),
    "alpha": number("a share between 0 and 1", lambda share: 0 < share < 1),
    "resume": one_of("auto", "never"),
    "progress": one_of("auto", True, False),
    "scores.samples": _WHOLE,
    "scores.pairs": _WHOLE,
    "scores.neighbours": _WHOLE,
    "scores.bank": whole(2),
    "scores.aggregate.images": _WHOLE,
    "scores.aggregate.samples": _WHOLE,
    "scores.evidence.samples": _WHOLE,
    "scores.rank_draws": _WHOLE,
    "scores.regret.steps": _WHOLE,
}


def check_options(config: DictConfig) -> None:
    """Check `configs/score.yaml` as composed.

    Raises:
        UserError: for the first invalid option.
    """
    check_run(config.run, ", or the folder of an export")
    if not config.images:
        raise UserError(
            "images expects the images to score; give images=<folder, image, .txt list, .tar shards or .npy array>."
        )
    check_table(config, OPTIONS)
    score_setting(config)
