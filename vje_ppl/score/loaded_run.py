"""A run as `vje_ppl.load` returns it: embeds and scores images, and is evaluated and diagnosed as by the commands."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyro
from jaxtyping import Bool, Float64
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from vje_ppl.errors import UserError, did_you_mean
from vje_ppl.program.parameter_store import local_parameters
from vje_ppl.runs import trained_run
from vje_ppl.runs.trained_run import TrainedRun
from vje_ppl.settings.checks import check_table
from vje_ppl.settings.groups import method_name
from vje_ppl.terminal.results import DiagnosisResults, EvaluationResults, html_image

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ImageScores:
    """Scores of N images.

    Attributes:
        score: how unusual an image is; higher = more anomalous; NaN without a score, [N].
        p_value: the rank of the score among those of the calibration images; NaN without a score or calibration, [N].
        flag: whether the p-value is at most alpha, [N].
        paths: the image files, or file and row of an array, [N]; empty for images that were given as pixels.
        reasons: why images have no score, by their places.
    """

    score: Float64[np.ndarray, " N"]
    p_value: Float64[np.ndarray, " N"]
    flag: Bool[np.ndarray, " N"]
    paths: tuple[str, ...] = ()
    reasons: dict[int, str] = field(default_factory=dict)

    @cached_property
    def frame(self) -> Any:
        """The scores as a pandas data frame with the columns of `scores.csv`: path, score, p_value, flag, reason."""
        import pandas  # takes half a second

        from vje_ppl.score.table import COLUMNS

        count = len(self.score)
        columns: dict[str, Any] = {
            "path": self.paths or [""] * count,
            "score": self.score,
            "p_value": self.p_value,
            "flag": pandas.array(self.flag, dtype="boolean"),
            "reason": [self.reasons.get(place, "") for place in range(count)],
        }
        columns["flag"][np.isnan(self.p_value)] = pandas.NA
        return pandas.DataFrame(columns, columns=list(COLUMNS))


@dataclass(frozen=True, eq=False)
class LoadedRun(TrainedRun):
    """A trained run, in evaluation mode, and where it was loaded from.

    Attributes:
        path: the run folder, or the export.
        trust_targets: whether its configuration may name classes outside `vje_ppl`.
    """

    path: Path = Path()
    trust_targets: bool = False

    def _repr_html_(self) -> str:
        """Return the run as a notebook shows it: where it is, and its curves."""
        of = f"{self.epoch} of {self.config.trainer.epochs} epochs, method {method_name(self.config)}"
        curves = self.path / "curves.png"
        return f"<p>{escape(str(self.path))}: {of}</p>" + (html_image(curves) if curves.is_file() else "")

    def evaluate(self, *overrides: str, **settings: Any) -> EvaluationResults:
        """Evaluate the run as `python -m vje_ppl.evaluate` does, with the same files in the run folder.

        Args:
            *overrides: as on the command line, such as "eval=[knn,linear]".
            **settings: further overrides by key, such as `eval=["knn"]` or `**{"knn.k": [5]}`.

        Returns:
            The results, which a notebook shows: a data frame for each kind, such as `.frames["knn"]`, and pictures.
            The global random states are as before the call.

        Raises:
            UserError: for overrides or data that the command would refuse.
            KeyboardInterrupt: if a training of `eval=one_class` is interrupted, after its state is saved.
        """
        return self._call("evaluate", overrides, settings)

    def diagnose(self, *overrides: str, **settings: Any) -> DiagnosisResults:
        """Diagnose the run as `python -m vje_ppl.diagnose` does, with the same files in the run folder.

        Args:
            *overrides: as on the command line, such as "sections=[guide,predictive]".
            **settings: further overrides by key, such as `samples=500`.

        Returns:
            The results, which a notebook shows: `.tree`, the posteriors as a DataTree for ArviZ; `.page`, the report;
            verdicts and the numbers of each section as data frames, `.frames`; and pictures. The global random states
            are as before the call.

        Raises:
            UserError: for overrides that the command would refuse, or a part without a NumPyro twin.
        """
        return self._call("diagnose", overrides, settings)

    def _call(self, command: str, overrides: Sequence[str], settings: dict[str, Any]) -> Any:
        from vje_ppl.terminal.call import as_overrides, call
        from vje_ppl.terminal.text_keys import quoted

        typed = as_overrides(command, overrides, settings)
        if any(one.partition("=")[0].lstrip("+") == "run" for one in typed):
            raise UserError(f"{command} works on the run {self.path}; leave out run=..., or load the other run.")
        folder = self.path.parent if self.path.suffix == ".safetensors" else self.path
        own = [f"run={quoted(str(folder))}", f"trust_targets={str(self.trust_targets).lower()}"]
        return call(command, [*own, *typed])

    def score(
        self,
        images: Tensor | np.ndarray | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        calibrate: bool | Tensor | np.ndarray | str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = True,
        alpha: float = 0.05,
        batch_size: int = 256,
        workers: int = 2,
        data_root: str | None = None,
        **options: Any,
    ) -> ImageScores:
        """Score images, with the same numbers as `python -m vje_ppl.score`.

        Args:
            images: pixels, (N, C, H, W): whole numbers in 0..255, or floats in [0, 1]; or paths of image files,
                folders, `.txt` lists or `.tar` shards; or the path of an array, an `.npy` or `.npz` file. Pixels of
                another size, or in grey instead of RGB, are converted. For a run on features, vectors of V views of
                each image, (N, V, D).
            calibrate: True: p-values among the images that the run kept for calibration; False: none; or normal images
                in one of the forms of `images`.
            alpha: images with a p-value of at most this are flagged, in (0, 1).
            batch_size: images at a time, about.
            workers: processes that decode image files.
            data_root: folder of the run's own images, if it has changed.
            **options: further keys of `configs/score.yaml`: `score`, `views`, `features`, `seed`, `scores`.

        Returns:
            A score, p-value and flag per image, in the order of the images.

        Raises:
            ValueError: for another shape or range of pixels.
            UserError: for an invalid or unknown option, a score that the run does not have, or no images to calibrate
                with.
        """
        from vje_ppl.score.calibration import p_values, too_few  # imports scikit-learn and Fabric, which takes seconds
        from vje_ppl.score.given import given
        from vje_ppl.score.options import OPTIONS
        from vje_ppl.score.prepared import prepare
        from vje_ppl.score.setting import score_setting

        for key, value in {"alpha": alpha, "batch_size": batch_size, "workers": workers}.items():
            OPTIONS[key].require(key, value)
        setting = score_setting(_with(options))
        with local_parameters(validate=False):  # as for the command: an image without a score does not end it
            ready = prepare(
                self,
                self.path,
                setting,
                calibrate={True: None, False: False}[calibrate] if isinstance(calibrate, bool) else calibrate,
                batch_size=batch_size,
                workers=workers,
                data_root=data_root,
                trust_targets=self.trust_targets,
            )
            found = given(images, self, workers)
            paths = () if isinstance(images, Tensor | np.ndarray) else tuple(map(str, found.places))
            chunks = list(ready.scorer.score(ready.source(found.images)))
        scores = np.concatenate([chunk.scores for chunk in chunks]) if chunks else np.empty(0)
        known = ready.calibration
        note = None if known is None else too_few(len(known.scores), alpha)
        if note is not None:
            _log.warning("%s", note)
        values = np.full(len(scores), np.nan) if known is None else p_values(known.scores, scores)
        reasons = {place: text for chunk in chunks for place, text in chunk.reasons.items()}
        return ImageScores(scores, values, values <= alpha, paths, reasons)


def load(run: str | os.PathLike[str], device: str = "cpu", trust_targets: bool = False) -> LoadedRun:
    """Load a run from its folder.

    Args:
        run: the run folder, such as `runs/digits-1a2b3c4d`; or an export of `vje_ppl.export`, the folder or its
            `model.safetensors`.
        device: where to put it.
        trust_targets: whether the configuration may name classes outside `vje_ppl`. Loading then runs code that the
            configuration names, so set it only for runs that you trust.

    Returns:
        The run at its last good checkpoint.

    Raises:
        UserError: if there is no run, its checkpoint is damaged, or a target is not trusted.
    """
    with pyro.settings.context(module_local_params=True):  # so that scores leave Pyro's parameter store alone
        found = trained_run.load(run, device, trust_targets)
    parts = {one.name: getattr(found, one.name) for one in fields(found)}
    return LoadedRun(**parts, path=Path(run), trust_targets=trust_targets)


def _with(options: dict[str, Any]) -> DictConfig:
    """Return the keys of `configs/score.yaml` that determine a score, with some of them changed."""
    from vje_ppl.score.options import OPTIONS

    config = OmegaConf.create((files("vje_ppl.configs") / "score.yaml").read_text(encoding="utf-8"))
    assert isinstance(config, DictConfig)
    keys = ("score", "views", "features", "seed", "scores")
    unknown = sorted(set(options) - set(keys))
    if unknown:
        hint = did_you_mean(unknown[0], keys) or f"they are {', '.join(keys)}."
        raise UserError(f"score has no option {unknown[0]}; {hint}")
    merged = OmegaConf.merge(OmegaConf.masked_copy(config, list(keys)), options)
    assert isinstance(merged, DictConfig)
    check_table(merged, {key: check for key, check in OPTIONS.items() if key.partition(".")[0] in keys})
    return merged
