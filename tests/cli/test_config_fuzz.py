"""Whatever is configured, two steps of it are a finished run or one sentence."""

from __future__ import annotations

import resource
import shutil
import signal
from contextlib import contextmanager
from functools import cache

import pytest
from hydra.errors import HydraException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tests.helpers.cases import composed
from tests.helpers.commands import command, one_sentence
from tests.settings.test_configs import OPTIONS
from vje_ppl.settings.identity import leaves
from vje_ppl.train.__main__ import main

#: An epoch of two steps on 32 images, with networks that take no time where the configuration does not change them.
TINY = (
    *("data.subset=32", "batch_size=16", "trainer.epochs=1", "knn.every=0", "trainer.progress=false"),
    *("trainer.device=cpu", "run.name=a"),
)
NARROW = {
    "encoder.width": ("4",),
    "encoder.dim": ("4",),
    "guide.network.width": ("1",),
    "guide.network.depth": ("1",),
    "method.projector": ("[8,4]",),
    "method.predictor": ("8",),
}

#: Of a diagnosis, and loggers, which write to places of their own.
NOT_OF_TRAINING = ("fault", "logger")
GROUPS = sorted({group for group, _ in OPTIONS if group not in NOT_OF_TRAINING})
CHOICES = st.lists(
    st.sampled_from([one for one in OPTIONS if one[0] in GROUPS]), max_size=4, unique_by=lambda one: one[0]
)

#: Keys that say where a run lies, what code it calls, or that ask for as many processes as they are told.
LEFT_ALONE = ("run.", "resume", "hydra", "debug", "logger", "data.root", "data.download", "trainer.compile")
PROCESSES = ("trainer.devices", "trainer.num_nodes", "data.workers")

ODD = (
    *("0", "-1", "1", "2", "3", "0.5", "-0.5", "1.5", "1e-30", "1e30", "-1e30", "1e308", "nan", "inf", "-inf"),
    *("1000000", "10000000000", "9223372036854775808", "-9223372036854775809", "null", "true", "false", "''"),
    *("abc", "'1'", "μ", "'\u202eevil'", "'a b'", "'$x'", "[]", "[1]", "[1,2]", "[1,2,3]", "[0.5,x]", "[null]"),
    *("{}", "{a:1}", "???", "${seed}", "${nowhere}", "${oc.env:HOME}", "[[1,2],[3,4]]", "[-1,1]", "[nan,1]"),
)
VALUES = st.one_of(
    st.sampled_from(ODD),
    st.integers(-3, 40).map(str),
    st.floats().map(repr),
    st.text(max_size=8).map(lambda text: "'" + text.replace("\\", "").replace("'", "") + "'"),
)
FEW = st.sampled_from(("0", "-1", "1", "1.5", "null", "nan", "abc", "[]", "true", "''"))
CHANGES = st.lists(st.tuples(st.integers(0, 10_000), VALUES, FEW), max_size=3)


@cache
def keys(choices):
    """The keys of what is chosen; none where it does not compose."""
    try:
        config = OmegaConf.to_container(composed(*choices))
    except (HydraException, OmegaConfBaseException):
        return ()
    return tuple(key for key, _ in leaves(config) if not (key.startswith(LEFT_ALONE) or "_target_" in key))


def overrides(choices, changes):
    """What to type: choices of groups, the tiny run, and up to three keys of it set to odd values."""
    chosen = tuple(f"{group}={option}" for group, option in sorted(choices))
    known = keys(chosen)
    narrow = [f"{key}={value}" for key, (value,) in NARROW.items() if key in known]
    typed = {one.partition("=")[0]: one for one in (*TINY, *narrow)}
    if "data.subset" not in known:
        typed.pop("data.subset")
    for place, value, few in changes if known else ():
        key = known[place % len(known)]
        typed[key] = f"{key}={few if key in PROCESSES or key == 'trainer.epochs' else value}"
    return [*chosen, *typed.values()]


@contextmanager
def limits(seconds=120, gigabytes=3):
    """An end to waiting, and memory that a huge number cannot take from everyone."""

    def expired(*_):
        raise AssertionError(f"the run took more than {seconds} seconds")

    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, expired)
    resource.setrlimit(resource.RLIMIT_AS, (used + gigabytes * 2**30, before[1]))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGALRM, handler)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def check(folder, choices, changes):
    typed = overrides(choices, changes)
    runs = folder / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch, limits():
        patch.chdir(folder)
        result = command(main, "vje_ppl.train", *typed, f"run.root={runs}")
    if result.returncode == 0:
        assert "Traceback" not in result.stderr
        assert (runs / "a" / "metrics.json").is_file()
    else:
        assert result.returncode == 2, result.stderr
        sentence = one_sentence(result)
        assert len(sentence) > len("error: x."), result.stderr
        assert sentence.endswith((".", "?")), sentence


QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@given(choices=CHOICES, changes=CHANGES)
@settings(max_examples=8, derandomize=True, **QUIET)
def test_configurations_run_or_are_refused(folder, choices, changes):
    check(folder, choices, changes)


@pytest.mark.slow
@given(choices=CHOICES, changes=CHANGES)
@settings(max_examples=250, **QUIET)
def test_many_configurations_run_or_are_refused(folder, choices, changes):
    check(folder, choices, changes)
