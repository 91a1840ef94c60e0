"""What is done with a command of the documentation: composed at once, and run with a tiny budget in the slow tests.

| command | at once | in the slow tests |
| --- | --- | --- |
| python -m vje_ppl.X ... | composed, its sweep at its first values | run, with the overrides of `BUDGETS` appended |
| the same with hydra/launcher=... or launcher=slurm | composed | nothing: there is no cluster |
| torchrun or srun, or a script that starts with #! | parsed by bash, what it starts composed | nothing: no cluster |
| sbatch X | X is a file of the page | nothing |
| make X | a dry run | nothing: it would install |
| pip install X | X is this project, and its extras are there | nothing: it would install |

Whatever else a block has is an error. Appended overrides win over earlier ones, and shrink a run in length and width;
they change nothing that a reader would look at. A run folder of any name, `<name>`, is one that is there.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from packaging.requirements import Requirement

from tests.documentation.blocks import ROOT, Block
from tests.helpers.commands import environment

CONFIGS = ROOT / "configs"
RUN = "digits"

#: Options of Hydra's command line that take a value.
_VALUED = ("--cfg", "-c", "--package", "-p", "--config-dir", "-cd", "--config-name", "-cn")

#: What is appended to every run of a module.
BUDGETS: dict[str, tuple[str, ...]] = {
    "train": ("trainer.epochs=1",),
    "evaluate": (
        *("linear.epochs=2", "scores.samples=2", "scores.pairs=1", "scores.aggregate.images=40", "images.test=60"),
        *("scores.rank_draws=4", "scores.regret.steps=2"),
        *("one_class.classes=[3]", "one_class.epochs=1", "ood.data=[sample_photos]"),
    ),
    "diagnose": (
        *("images.count=6", "targets=2", "samples=60", "nuts.warmup=50", "nuts.draws=50", "nuts.thin=1"),
        *("nuts.chains=2", "uncertainty.images=60", "predictive.images=60", "predictive.samples=40"),
        *("datatree.samples=20",),
    ),
    "reproduce": ("run=false",),  # draws what is there; runs of a study are tested in tests/reproduce/test_command.py
    "compare": (),
    "crosscheck": ("widths=[2,3]", "images=16", "precision=[float64]"),
    "benchmark": ("only=[step]", "seconds=0.01", "batch_size=8"),
    "export": ("images=4",),
    "score": ("images=photos", "resume=never"),
}

_SHORT_OF_A_CLUSTER = ("data.image_size=32", "data.workers=1", "guide.network.width=1")

#: What is appended to a training on other images than the digits: a few photographs in the layout that the data have.
STAND_INS: dict[str, tuple[str, ...]] = {
    "image_folder": ("data.root=photos", "data.image_size=32", "data.subset=null"),
    "cifar10": ("data.root=cifar", "data.download=false", "data.subset=null"),
    "imagenet": ("data.root=imagenet", *_SHORT_OF_A_CLUSTER),
    "webdataset": _SHORT_OF_A_CLUSTER,
    "hf_dataset": _SHORT_OF_A_CLUSTER,
}
SMALL_BATCH = ("batch_size=8", "trainer.precision=32", "trainer.checkpoint_every=null")

#: Baselines' heads, which their papers make thousands wide.
NARROW_HEADS = dict.fromkeys(("vicreg", "barlow_twins", "lejepa", "visreg"), ("method.projector=[16,16,16]",))


class NoRuleError(AssertionError):
    """A command that nothing here knows what to do with."""


@dataclass(frozen=True)
class ModuleCommand:
    """`python -m vje_ppl.<name>` with its arguments, overrides apart from Hydra's own options."""

    name: str
    overrides: list[str]
    options: list[str] = field(default_factory=list)

    @property
    def sweeps(self) -> bool:
        """Whether it is a sweep."""
        return bool({"-m", "--multirun"} & set(self.options))

    @property
    def needs_a_cluster(self) -> bool:
        """Whether another launcher than Hydra's own starts it."""
        return any(one.startswith(("hydra/launcher=", "launcher=slurm")) for one in self.overrides)

    def value(self, key: str) -> str | None:
        """The last value that the overrides give to a key."""
        found = [one.partition("=")[2] for one in self.overrides if one.partition("=")[0].lstrip("+") == key]
        return found[-1] if found else None

    def composed(self, folder: Path) -> DictConfig:
        """The configuration that it would run with, of a sweep the first."""
        overrides = [_first(one) for one in self.overrides]
        if "--config-dir" in self.options:
            path = folder / self.options[self.options.index("--config-dir") + 1]
            overrides.append(f"hydra.searchpath=[file://{path}]")
        GlobalHydra.instance().clear()
        with initialize_config_module("vje_ppl.configs", version_base="1.3"):
            return compose(self.name, overrides=overrides, return_hydra_config="hydra.searchpath" in str(overrides))

    def budget(self, folder: Path) -> list[str]:
        """The overrides that make it short."""
        added = [*BUDGETS[self.name]]
        if self.name == "train":
            data = self.composed(folder).data._target_.rsplit(".", 1)[-1]
            added += [*STAND_INS.get(data, ()), *(SMALL_BATCH if data in STAND_INS else ())]
            added += NARROW_HEADS.get(self.value("method") or "", ())
        if self.name == "benchmark" and self.value("on"):
            added = ["only=[program]"]
        if self.name == "reproduce" and self.value("figure"):
            added = [] if self.value("figure") == "2" else added  # which trains nothing
        return added


def module_command(words: list[str]) -> ModuleCommand:
    """Parse what follows `python -m`."""
    name = words[0].removeprefix("vje_ppl.")
    if not words[0].startswith("vje_ppl.") or name not in BUDGETS:
        raise NoRuleError(f"python -m {words[0]} has no budget in tests/documentation/commands.py")
    overrides: list[str] = []
    options: list[str] = []
    rest = iter(words[1:])
    for word in rest:
        if word.startswith("-"):
            options.append(word)
            if word in _VALUED:
                options.append(next(rest))
        else:
            overrides.append(word.replace("<name>", RUN))
    return ModuleCommand(name, overrides, options)


def words_of(command: str) -> list[str]:
    """A command as the shell splits it, comments left out; variables that are not set here, as a cluster's, are 1."""
    return shlex.split(re.sub(r"\$\{?\w+\}?", "1", os.path.expandvars(command)), comments=True)


def module_of(words: list[str]) -> ModuleCommand | None:
    """The module that a command starts, be it through torchrun or srun; None if it starts none."""
    places = [number for number, word in enumerate(words[:-1]) if word == "-m" and words[number + 1].startswith("vje_")]
    return module_command(words[places[0] + 1 :]) if places else None


def check(command: str, block: Block, folder: Path) -> None:
    """Do at once what the table says.

    Raises:
        NoRuleError: for a command that it does not have.
    """
    words = words_of(command)
    found = module_of(words)
    if found is not None and words[0] in ("python", "torchrun", "srun"):
        OmegaConf.to_container(found.composed(folder))
        return
    match words:
        case ["make", *targets]:
            subprocess.run(
                ["make", "--dry-run", f"PYTHON={sys.executable}", *targets], cwd=ROOT, check=True, capture_output=True
            )
        case ["pip", "install", *what]:
            _check_requirement(what[-1])
        case ["sbatch", *_, script]:
            files = re.findall(r"<!-- test: file (\S+) -->", _page(block))
            assert script in files, f"{block}: {script} is no file of the page"
        case _:
            raise NoRuleError(f"{block}: {command!r} has no rule in tests/documentation/commands.py")


def check_script(block: Block, folder: Path) -> None:
    """Have bash parse a whole script, and compose what it starts."""
    subprocess.run(["bash", "-n"], input=block.code, text=True, check=True, capture_output=True)
    found = [module_of(words_of(line)) for line in block.commands if "vje_ppl" in line]
    started = [one for one in found if one is not None]
    assert started, f"{block}: the script starts nothing of vje_ppl"
    for one in started:
        OmegaConf.to_container(one.composed(folder))


def run(command: str, folder: Path) -> str:
    """Run a command of the slow tests in a folder, and return what it printed; empty if the table says nothing."""
    words = words_of(command)
    found = module_of(words)
    if found is None or words[0] != "python" or found.needs_a_cluster:
        return ""
    arguments = [*found.options, *found.overrides, *found.budget(folder)]
    if found.value("trainer.devices"):  # processes that start each other by this command line
        return _run_apart(["-m", f"vje_ppl.{found.name}", *arguments], folder)
    return _run_here(f"vje_ppl.{found.name}", arguments)


def _run_apart(arguments: list[str], folder: Path) -> str:
    result = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{shlex.join(arguments)}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def _run_here(module: str, arguments: list[str]) -> str:
    """As `python -m` runs it, in this process: importing torch anew for each command would take minutes."""
    output, errors = StringIO(), StringIO()
    GlobalHydra.instance().clear()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.setattr(sys, "argv", [module, *arguments])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*found in sys.modules.*", category=RuntimeWarning)
            warnings.filterwarnings("ignore", message="The `srun` command is available")  # on a cluster's machine
            with pytest.raises(SystemExit) as left:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
    said = f"python -m {module} {shlex.join(arguments)}\n{output.getvalue()}\n{errors.getvalue()}"
    assert left.value.code in (0, None), said
    return output.getvalue()


def _first(override: str) -> str:
    """Of a swept override the first value; any other one as it is."""
    parsed: Override = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return override
    if parsed.is_discrete_sweep() and "glob(" not in override:
        return f"{parsed.get_key_element()}={next(parsed.sweep_string_iterator())}"
    options = sorted(path.stem for path in (CONFIGS / parsed.key_or_group).glob("*.yaml"))
    assert options, f"{override} sweeps over a group that has no options"
    return f"{parsed.key_or_group}={options[0]}"


def _check_requirement(text: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirement = Requirement(re.sub(r"^\.", project["name"], text))
    assert requirement.name == project["name"], text
    assert requirement.extras <= set(project["optional-dependencies"]), text


def _page(block: Block) -> str:
    return next(path for path in (ROOT / block.page, ROOT / "docs" / block.page) if path.is_file()).read_text("utf-8")
