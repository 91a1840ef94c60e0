"""The sections of a diagnosis, one after the other, and its report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vje_ppl.diagnose.options import check_memory, check_options
from vje_ppl.diagnose.posterior.conjugate import ConjugateCase
from vje_ppl.diagnose.posterior.datatree import DataTreeOptions, write_datatree
from vje_ppl.diagnose.posterior.nuts import NUTSOptions
from vje_ppl.diagnose.posterior.offsets import Offsets, offsets_of_gaussians, offsets_of_training
from vje_ppl.diagnose.posterior.problem import powers
from vje_ppl.diagnose.posterior.reference import Reference
from vje_ppl.diagnose.posterior.run_problem import problem_of_run
from vje_ppl.diagnose.report.page import write_report
from vje_ppl.diagnose.report.section import Level, Picture, Section, Verdict
from vje_ppl.diagnose.run import DiagnosedRun, open_diagnosed_run
from vje_ppl.diagnose.sections.active_features import active_features_section
from vje_ppl.diagnose.sections.calibration import calibration_section
from vje_ppl.diagnose.sections.guide import guide_section
from vje_ppl.diagnose.sections.predictive import check_held_out, predictive_section
from vje_ppl.diagnose.sections.reference import reference_section
from vje_ppl.diagnose.sections.uncertainty import uncertainty_section
from vje_ppl.errors import UserError
from vje_ppl.pictures.style import save
from vje_ppl.program.parameter_store import local_parameters
from vje_ppl.runs.files import json_lines, write_atomically
from vje_ppl.settings.build import build
from vje_ppl.settings.checks import as_list
from vje_ppl.terminal.progress import progress
from vje_ppl.terminal.results import DiagnosisResults, Table
from vje_ppl.terminal.versions import versions

REPORT, NUMBERS, DATATREE = "diagnosis.html", "diagnosis.json", "diagnosis.nc"
#: Further packages whose versions a diagnosis records.
PACKAGES = ("numpyro", "jax", "arviz", "numpy", "python")

WORDS = {Level.INFORMATION: "note", Level.GOOD: "good", Level.CAUTION: "caution", Level.BAD: "bad"}


@dataclass(eq=False)
class Diagnosis:
    """The inputs of all sections.

    Attributes:
        refer: makes `reference`, which only sections about posteriors need.
        names: names of the images.
        facts: facts about the case, by name.
        run: the opened run; None for a synthetic case.
    """

    refer: Callable[[], Reference]
    names: list[str]
    index: list[int]
    labels: list[str]
    facts: dict[str, str]
    run: DiagnosedRun | None = None
    sections: list[Section] = field(default_factory=list)

    @cached_property
    def reference(self) -> Reference:
        """The posteriors and their comparisons; the program is in NumPyro."""
        return self.refer()

    @cached_property
    def offsets(self) -> Offsets:
        """Systematic errors of the guide."""
        if self.run is None:
            problem = self.reference.problem
            gaussians = self.reference.gaussians(self.reference.powers[0])
            return offsets_of_gaussians(problem.guide_mean, problem.guide_scale, gaussians)
        with self.reference.stage("offsets", "what the training objective would change"):
            return offsets_of_training(self.run)


#: Sections about posteriors, of a run or of a synthetic case.
OF_POSTERIORS: dict[str, Callable[[Diagnosis], Section]] = {
    "guide": lambda one: guide_section(one.reference, one.offsets, one.names),
    "reference": lambda one: reference_section(one.reference, one.names),
    "calibration": lambda one: calibration_section(one.reference),
}

#: Sections about a run alone.
OF_RUNS: dict[str, Callable[[DiagnosedRun], Section]] = {
    "uncertainty": uncertainty_section,
    "predictive": predictive_section,
    "active_features": active_features_section,
}

SECTIONS = (*OF_POSTERIORS, *OF_RUNS)


def diagnose(config: DictConfig) -> DiagnosisResults:
    """Diagnose a run, section after section, and write the report.

    Args:
        config: the composed configuration of `configs/diagnose.yaml`.

    Returns:
        The results.

    Raises:
        UserError: for an invalid option, a missing run, a part without a NumPyro twin, or a request that needs too much
            memory.
    """
    start = time.perf_counter()
    check_options(config, SECTIONS, tuple(OF_POSTERIORS))
    with local_parameters(validate=config.debug):
        wanted = as_list(config.sections) if config.sections is not None else list(SECTIONS)
        diagnosis = _synthetic(config) if config.case == "conjugate" else _of_run(config)
        print("\n".join(f"{name:<10}{fact}" for name, fact in diagnosis.facts.items()), flush=True)
        if "predictive" in wanted and diagnosis.run is not None:
            check_held_out(diagnosis.run)  # before the long work
        folder = _folder(config)
        folder.mkdir(parents=True, exist_ok=True)
        for name in SECTIONS:
            if name in wanted and (name in OF_POSTERIORS or diagnosis.run is not None):
                diagnosis.sections.append(_section(diagnosis, name))
        written = [REPORT, NUMBERS]
        if set(wanted) & {"guide", "reference"}:
            _write_datatree(diagnosis, folder / DATATREE, config)
            written.append(DATATREE)
    seconds = time.perf_counter() - start
    _write(diagnosis, folder, config, seconds)
    print(_summary(diagnosis.sections))
    print(f"\n{folder}: {', '.join(written)}; {seconds:.0f} s", flush=True)
    return _results(diagnosis.sections, folder, DATATREE in written)


def _of_run(config: DictConfig) -> Diagnosis:
    run = open_diagnosed_run(config, 1 + config.targets)
    check_memory(config, len(run.index), run.dim, config.targets, len(powers(run.beta)))
    labels = run.label_names
    index = [int(one) for one in run.index]
    trained = run.run
    facts = {
        "run": str(run.evaluated.folder.resolve().name),
        "trained": f"{trained.epoch} of {trained.config.trainer.epochs} epochs, β = {run.beta:g}, "
        f"seed {trained.config.seed}",
        "data": f"{run.data.name}: {len(index)} held-out images, {config.targets} target views of each, D = {run.dim}",
    }
    if trained.epoch < trained.config.trainer.epochs:
        facts["warning"] = "the run is not finished; its last checkpoint is diagnosed"
    if run.evaluated.changes is not None:
        facts["images"] = run.evaluated.changes
    if run.fault.sentence:
        facts["fault"] = f"planted on purpose: {run.fault.sentence}"
    names = [
        f"image {one}, class {label}" if label != "unlabelled" else f"image {one}"
        for one, label in zip(index, labels, strict=True)
    ]

    def refer() -> Reference:
        try:
            problem = problem_of_run(run)
        except UserError as error:
            others = ",".join(OF_RUNS)
            raise UserError(f"{str(error).rstrip('.')}; sections=[{others}] need no twin.") from error
        return Reference(problem, NUTSOptions(**config.nuts))

    return Diagnosis(refer, names, index, labels, facts, run)


def _synthetic(config: DictConfig) -> Diagnosis:
    images, dim = config.images.count, config.conjugate.dim
    check_memory(config, images, dim, 1, 1)
    case = ConjugateCase(images, dim, config.seed, config.samples, build(config.fault, "fault"))
    facts = {
        "run": "Conjugate case",
        "case": f"synthetic: Normal prior and likelihood, {images} images, D = {dim}, seed {config.seed}",
        "guide": "the exact posterior, which sees the target",
    }
    if case.fault.sentence:
        facts["fault"] = f"planted on purpose: {case.fault.sentence}"
    index = list(range(images))
    names = [f"image {one}" for one in index]

    def refer() -> Reference:
        return Reference(case.problem(), NUTSOptions(**config.nuts))

    return Diagnosis(refer, names, index, ["synthetic"] * images, facts)


def _section(diagnosis: Diagnosis, name: str) -> Section:
    start = time.perf_counter()
    if name in OF_POSTERIORS:
        section = OF_POSTERIORS[name](diagnosis)
    else:
        assert diagnosis.run is not None
        section = OF_RUNS[name](diagnosis.run)
    progress("section", f"{name}: {time.perf_counter() - start:.1f} s")
    return section


def _folder(config: DictConfig) -> Path:
    if config.out is not None:
        return Path(config.out)
    return Path("diagnosis-conjugate") if config.case == "conjugate" else Path(config.run) / "diagnosis"


def _write_datatree(diagnosis: Diagnosis, path: Path, config: DictConfig) -> None:
    run = diagnosis.run
    attributes: dict[str, Any] = {
        "run": diagnosis.facts["run"] if run is None else str(run.evaluated.folder.resolve()),
        "seed": config.seed,
        "beta": float(diagnosis.reference.problem.beta),
        "versions": json.dumps(versions(*PACKAGES)),
        "source_view": "a random view of each image; its posterior is the guide's",
        "target_view": "another random view of the same image, whose embedding is observed; detached, the first target",
        "likelihood_scale": "the trained guide's of the source view, through the model's scale, held fixed",
        "fault": diagnosis.facts.get("fault", "none"),
    }
    if run is not None:
        attributes["training_seed"] = int(run.run.config.seed)
    options = DataTreeOptions(**config.datatree)
    with diagnosis.reference.stage("datatree", str(path)):
        write_datatree(path, diagnosis.reference, options, diagnosis.index, diagnosis.labels, attributes)


def _write(diagnosis: Diagnosis, folder: Path, config: DictConfig, seconds: float) -> None:
    """Write the page, the numbers, and every picture."""
    facts = diagnosis.facts | {"versions": ", ".join(f"{name} {one}" for name, one in versions(*PACKAGES).items())}
    write_report(folder / REPORT, facts, diagnosis.sections)
    for section in diagnosis.sections:
        for picture in section.pictures:
            save(picture.figure, _file(folder, picture))
    numbers = {
        "facts": dict(diagnosis.facts),
        "options": OmegaConf.to_container(config, resolve=True),
        "versions": versions(*PACKAGES),
        "seconds": seconds,
        "sections": {section.name: _plain(section) for section in diagnosis.sections},
    }
    write_atomically(folder / NUMBERS, json_lines(numbers))


def _file(folder: Path, picture: Picture) -> Path:
    return folder / f"{picture.name}.png"


def _verdict(verdict: Verdict) -> dict[str, str]:
    level = WORDS[verdict.level]
    return {"name": verdict.name, "level": level, "sentence": verdict.sentence, "threshold": verdict.threshold}


def _results(sections: Sequence[Section], folder: Path, has_tree: bool) -> DiagnosisResults:
    """Return the results, with the worst verdicts first."""
    verdicts = [_verdict(one) for one in _verdicts(sections)]
    tables = {"verdicts": Table(verdicts, verdicts), **{one.name: Table(one.rows) for one in sections}}
    pictures = [_file(folder, picture) for section in sections for picture in section.pictures]
    return DiagnosisResults(folder, tables, pictures, folder / REPORT, folder / DATATREE if has_tree else None)


def _plain(section: Section) -> Mapping[str, Any]:
    verdicts = [_verdict(one) for one in section.verdicts]
    return {"title": section.title, "verdicts": verdicts, "rows": list(section.rows), "notes": list(section.notes)}


def _verdicts(sections: Sequence[Section]) -> list[Verdict]:
    """Return all verdicts, the worst first."""
    return sorted((one for section in sections for one in section.verdicts), key=lambda one: -one.level)


def _summary(sections: Sequence[Section]) -> str:
    """Return all verdicts, a line each, the worst first."""
    lines = [f"  {WORDS[one.level]:<8} {one.name}: {one.sentence}" for one in _verdicts(sections)]
    return "\n".join(["", "verdict", *lines])
