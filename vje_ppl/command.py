"""What every command line has in common: Hydra, and one sentence for whoever mistyped."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import hydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vje_ppl.errors import UserError

USER_ERROR, SOFTWARE_ERROR = 2, 1


def run_command(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Compose the configuration from the command line, run the task, and leave with an exit code.

    The person who typed gets one sentence where the fault is theirs to mend, a traceback as well under `debug=true`;
    any other exception is a fault of ours and keeps its traceback.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let exceptions through to us
    debug = "debug=true" in (argument.lower() for argument in sys.argv[1:])
    codes: list[int] = []
    _print_warnings()

    def run_one(config: DictConfig) -> None:
        """One job; in a sweep, a job that fails does not keep the next ones from running."""
        try:
            codes.append(task(config) or 0)
        except Exception as error:
            codes.append(_report(error, debug))

    try:
        hydra.main(version_base="1.3", config_path="pkg://vje_ppl.configs", config_name=config_name)(run_one)()
    except Exception as error:  # of composing the configuration
        codes.append(_report(error, debug))
    sys.exit(max(codes, default=0))


def _print_warnings() -> None:
    """Let the package's warnings through to the terminal, a line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    logger = logging.getLogger("vje_ppl")
    logger.handlers, logger.propagate = [handler], False


def _report(error: Exception, debug: bool) -> int:
    """Print a sentence for what the user can mend, a traceback for what is a fault of ours; returns the exit code."""
    disk = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    users = disk or isinstance(error, UserError | HydraException | OmegaConfBaseException)
    if debug or not users:
        traceback.print_exception(error)
    if users:
        print(f"error: {_sentence(error)}", file=sys.stderr, flush=True)
    return USER_ERROR if users else SOFTWARE_ERROR


def _sentence(error: Exception) -> str:
    """The gist of an exception in one line, with the nearest known key or the options."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = lines[0].rstrip(".")
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.options:
        near = get_close_matches(str(error.missing_cfg_file).rsplit("/", 1)[-1], error.options, n=1)
        hint = f"did you mean {near[0]}? The options are" if near else "the options are"
        return f"{text}; {hint} {', '.join(error.options)}."
    if isinstance(cause, OmegaConfBaseException):
        text = f"{text}: {str(cause).splitlines()[0]}"
        parent = cause.parent_node
        if cause.key is not None and isinstance(parent, DictConfig):
            text += _nearest(str(cause.key), [str(known) for known in parent if known != "hydra"])
    return text if text.endswith(("?", ".")) else f"{text}."


def _nearest(key: str, known: list[str]) -> str:
    near = get_close_matches(key, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; the keys here are {', '.join(known)}"
