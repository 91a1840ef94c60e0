"""The entry point of all commands: Hydra, and user errors as one sentence.

Neither this module nor what it imports imports torch, which takes seconds: help and errors of the command line come
before that. Only where torch is imported can an error be torch's.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import select
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vje_ppl.errors import LAYOUT, UserError, did_you_mean, printable
from vje_ppl.parallel.processes import is_first, started_processes
from vje_ppl.settings.groups import METHOD, PROGRAM, VJE
from vje_ppl.terminal.mistyped import read_arguments
from vje_ppl.terminal.text_keys import settle_text
from vje_ppl.terminal.unknown_keys import check_keys, composition_sentence, task_overrides

USER_ERROR, SOFTWARE_ERROR, SIGNALLED = 2, 1, 128

#: The exit code if the reader of the output, such as `head`, closes it, as for SIGPIPE.
UNREAD = SIGNALLED + 13

#: Options with which Hydra only prints something, or runs the task in other processes.
RUNS_NOTHING_HERE = frozenset(
    {"-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "-i", "--info", "-sc", "--shell-completion"}
    | {"launcher", "hydra/launcher"}
)

SWEEP = frozenset({"-m", "--multirun"})

#: Commands that several processes can share.
SHARED = frozenset({"train", "evaluate", "score"})


def run_command(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Compose the configuration from the command line, run the task, and leave with an exit code.

    Several processes, such as those of torchrun, may share a command of `SHARED`. After a signal, only the first
    process exits with its code, because Fabric takes any code of another process for a crash. A task returns an exit
    code, or its results.

    A user error is printed as one sentence, with a traceback under `debug=true`; any other exception keeps its
    traceback.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let exceptions through
    debug = "debug=true" in (argument.lower() for argument in sys.argv[1:])
    codes: list[int] = []
    jobs: list[list[str]] = []
    sweep = os.getpid()
    _print_warnings()

    def run_job(config: DictConfig) -> None:
        """Run one job; if it fails, a sweep continues with the next job, but a signal ends the sweep."""
        jobs.append(task_overrides())
        try:
            check_keys(config, config_name)
            settle_text(config, config_name)
            code = task(config)
            codes.append(code if isinstance(code, int) else 0)
        except Exception as error:
            if os.getpid() != sweep:  # a process of `launcher=...` passes its exception to the sweep
                raise
            codes.append(_report(error, debug, config_name))
        if codes[-1] > SIGNALLED:
            sys.exit(codes[-1] if is_first() else 0)

    try:
        _check_processes(config_name)
        sys.argv[1:] = read_arguments(sys.argv[1:], config_name)
        hydra.main(version_base="1.3", config_path="pkg://vje_ppl.configs", config_name=config_name)(run_job)()
        _report_sweep(jobs, codes)
        sys.stdout.flush()
    except Exception as error:  # from composing the configuration, or from unread output
        codes.append(_report(error, debug, config_name))
    sys.exit(max(codes, default=0))


def _check_processes(config_name: str) -> None:
    """Refuse commands that torchrun or SLURM would run in every process but that should run once.

    Raises:
        UserError: for a sweep, and for a command that cannot be shared.
    """
    started = started_processes()
    if started is None or started.count == 1:
        return
    if _options() & SWEEP:
        raise UserError(
            f"a sweep (-m) under {started.starter} would start each of its runs in all {started.count} processes; "
            f"start each run with its own command, or start the sweep directly with launcher=slurm, which starts the "
            "processes of each run."
        )
    if config_name not in SHARED:
        raise UserError(
            f"vje_ppl.{config_name} runs in one process, but {started.starter} started {started.count}; start the "
            f"command without {started.starter}."
        )


def _options() -> set[str]:
    """Return the options and keys of the command line, without values."""
    return {argument.partition("=")[0] for argument in sys.argv[1:]}


def _print_warnings() -> None:
    """Print the package's warnings to the terminal, a line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("warning: %(message)s"))
    logger = logging.getLogger("vje_ppl")
    logger.handlers, logger.propagate = [handler], False


class _Printable(logging.Formatter):
    """Formats lines without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a line."""
        return printable(super().format(record), LAYOUT)


def _report_sweep(jobs: list[list[str]], codes: list[int]) -> None:
    """Print the failed jobs of a sweep, by the overrides that differ between jobs.

    Raises:
        UserError: if the sweep had no job, as when a glob matches nothing.
    """
    options = _options()
    if not jobs and options & SWEEP and not options & RUNS_NOTHING_HERE:
        raise UserError(
            "the sweep is empty; a glob matches the options of one group, for example experiment/ablation=glob(*)"
        )
    failed = [job for job, code in zip(jobs, codes, strict=True) if code]
    if failed and len(jobs) > 1:
        common = set.intersection(*map(set, jobs))
        names = "; ".join(" ".join(key for key in job if key not in common) for job in failed)
        print(f"{len(failed)} of {len(jobs)} runs failed: {names}", file=sys.stderr, flush=True)


def _is_unread(error: Exception) -> bool:
    """Return whether an error means that the output has no reader, rather than that another pipe is broken."""
    if not isinstance(error, BrokenPipeError):
        return False
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in output.poll(0))


def _report(error: Exception, debug: bool, command: str) -> int:
    """Print a sentence for an error of the user, or a traceback for any other; return the exit code.

    If the output has no reader, print nothing and discard further output.
    """
    if _is_unread(error):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    disk = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    memory, lost = _is_want_of_memory(error), _has_lost_a_process(error)
    users = disk or memory or lost or isinstance(error, UserError | HydraException | OmegaConfBaseException)
    if debug or not users:
        traceback.print_exception(error)
    if users:
        if memory:
            text = _MEMORY.format(" ".join(str(error).split())[:120] or "MemoryError")
        else:
            text = _LOST if lost else sentence(error, command, sys.argv[1:])
        print(f"error: {printable(text)}", file=sys.stderr, flush=True)
    return USER_ERROR if users else SOFTWARE_ERROR


_MEMORY = "there is not enough memory ({}); lower batch_size, or another size in the configuration."


_LOST = (
    "Another process of this run died: out of memory, or see its error above. Rerun the same command to resume from "
    "the last checkpoint."
)


def _has_lost_a_process(error: BaseException) -> bool:
    """Return whether a collective failed, which it does at once if a process is gone."""
    gloo = isinstance(error, RuntimeError) and "gloo/transport" in str(error)  # gloo has no error type of its own
    torch: Any = sys.modules.get("torch")
    return gloo or (torch is not None and isinstance(error, torch.distributed.DistError))


def _is_want_of_memory(error: BaseException | None) -> bool:
    """Return whether something asked for more memory than the processor or a device has, or than can be counted."""
    if error is None:
        return False
    torch: Any = sys.modules.get("torch")
    wanting = ("can't allocate memory", "Storage size calculation overflowed", "not enough memory")
    if (
        isinstance(error, MemoryError)
        or (torch is not None and isinstance(error, torch.OutOfMemoryError))
        or (isinstance(error, RuntimeError) and any(one in str(error) for one in wanting))
    ):
        return True
    return isinstance(error, InstantiationException) and _is_want_of_memory(error.__cause__)


def sentence(error: Exception, command: str, arguments: Sequence[str]) -> str:
    """Return an exception in one sentence, with what to type instead if the command line is wrong.

    Args:
        error: the exception.
        command: the name of the command's configuration.
        arguments: the command line.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = lines[0].rstrip(".")
    cause = error.__cause__
    if isinstance(error, UserError):
        text = str(error).strip()
    elif isinstance(error, InstantiationException) and cause is not None:
        text = f"{text} {type(cause).__name__} {' '.join(str(cause).split())[:200]}".rstrip(".")
    elif isinstance(error, MissingConfigException) and "submitit" in str(error.missing_cfg_file):
        text = 'jobs on a cluster need submitit, which is not installed: pip install "vje_ppl[cluster]".'
    elif isinstance(error, MissingConfigException) and error.options:
        near = did_you_mean(str(error.missing_cfg_file).rsplit("/", 1)[-1], error.options)
        hint = f"{near} The options are" if near else "the options are"
        text = f"{text}; {hint} {', '.join(error.options)}."
    elif group := _foreign_group(text, arguments):
        text = f"{text}; {group} is a part of method=vje, but the chosen method has no such part; leave it out."
    elif isinstance(error, HydraException | OmegaConfBaseException):
        text = composition_sentence(error, lines, arguments, command)
    return text if text.endswith(("?", ".")) else f"{text}."


def _foreign_group(text: str, arguments: Sequence[str]) -> str | None:
    """Return the group of VJE in an override, if the command line chooses another method."""
    override = re.search(rf"Could not override '({'|'.join(PROGRAM)})[./@]", text)
    chosen = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{METHOD}=")]
    return override.group(1) if override and chosen and chosen[-1] != VJE else None
