"""Checks of the options of `python -m vje_ppl.benchmark`, before torch is imported."""

from __future__ import annotations

from omegaconf import DictConfig

from vje_ppl.errors import UserError
from vje_ppl.settings.checks import NULL, POSITIVE, as_list, check_names, check_table, one_of, whole

#: What `only` may name, here and with on=gpu, in the order in which they run.
MEASURES = ("step", "throughput", "decoding", "memory", "startup", "scaling")
STAGES = ("correctness", "throughput", "program", "scaling", "training")

OPTIONS = {
    "on": one_of("gpu") | NULL,
    "seconds": POSITIVE,
    "batch_size": whole(2),
    "workers": whole(0) | NULL,
    "device": one_of("auto", "cuda", "cpu"),
    "smoke": one_of(True, False),
}

#: Options of on=gpu alone, with their defaults.
_OF_CAMPAIGN = {"device": "auto", "smoke": False, "data.root": None}

#: The command that walks through the campaign on any machine.
SMOKE = "python -m vje_ppl.benchmark on=gpu device=cpu smoke=true"


def checked_names(config: DictConfig) -> list[str]:
    """Check all options, and return what to measure.

    Raises:
        UserError: if an option is invalid, or belongs to the campaign and is given without it.
    """
    check_table(config, OPTIONS)
    known = STAGES if config.on else MEASURES
    if not config.on:
        given = {"device": config.device, "smoke": config.smoke, "data.root": config.data.root}
        for key, value in given.items():
            if value != _OF_CAMPAIGN[key]:
                raise UserError(f"{key} is an option of the campaign; add on=gpu, or leave out {key}=...")
    elif config.device == "cpu" and not config.smoke:
        raise UserError(f"device=cpu would take hours at full size; type {SMOKE} to try the stages at tiny sizes")
    names = as_list(config.only or list(known))
    check_names("only", names, known)
    return names
