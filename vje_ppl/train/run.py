"""One training run, new or resumed, from start to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from vje_ppl.data.contrast import contrast_warning
from vje_ppl.data.fingerprint import data_root, differences
from vje_ppl.errors import UserError
from vje_ppl.program.parameter_store import local_parameters
from vje_ppl.runs import checkpoint
from vje_ppl.runs.foreign_state import TRAINING, check_state
from vje_ppl.settings.identity import config_differences
from vje_ppl.train.cached_views import forget
from vje_ppl.train.session import Session
from vje_ppl.train.summary import closing_table, final_metrics, headline


def train(config: DictConfig) -> int:
    """Train one run as configured, or resume it.

    Args:
        config: the composed configuration of `configs/train.yaml`.

    Returns:
        Exit code: 0 when finished, 128 plus the signal's number when interrupted.

    Raises:
        UserError: for anything that the user can fix.
    """
    with local_parameters(validate=config.debug), Session.open(config) as session:
        return train_session(session)


def train_session(session: Session) -> int:
    """Train an opened run, or resume it; returns and raises as `train`."""
    state = saved_state(session)
    started = [] if state is not None else session.load_start()
    loop = session.loop(state)
    if session.is_first:
        session.folder.write_config(session.resolved)
        print(headline(session, state, started), flush=True)
        warning = contrast_warning(session.data.train, session.augment.evaluation)
        if warning:
            print(f"warning: {warning}", flush=True)
            loop.collapse_advice = "images that differ (see the warning at the start)"
    finished = state is not None and state["finished"]
    code = 0 if finished else loop.fit()
    if code == 0 and session.is_first:
        forget(session.folder.path)
        metrics = final_metrics(session, loop.history)
        if not (finished and session.folder.metrics_json.exists()):  # it records the versions that trained it
            session.folder.write_metrics(metrics)
        print(closing_table(metrics, session.folder.path))
    return code


def saved_state(session: Session) -> dict[str, Any] | None:
    """Return the state to resume from, according to `resume`, or None to start from scratch.

    Raises:
        UserError: if there is no checkpoint at `resume`, or it belongs to another configuration or other images.
    """
    resume, folder = session.config.resume, session.folder
    if resume == "never":
        moved = folder.move_aside() if session.is_first else None
        if moved is not None:
            print(f"moved the earlier run to {moved}", flush=True)
        session.fabric.barrier()
        return None
    if resume == "auto":
        latest = checkpoint.load_latest(folder.checkpoints)
    else:
        path = Path(resume)
        latest = checkpoint.load_latest(path / "checkpoints" if (path / "checkpoints").is_dir() else path)
        if latest is None:
            raise UserError(
                f"resume expects auto, never, or the path of a run folder or a checkpoint, but {resume} is neither."
            )
    if latest is None:
        return None
    check_state(latest.state, latest.path, TRAINING)
    if latest.warning and session.is_first:
        print(f"warning: {latest.warning}", flush=True)
    _check_same(latest, session)
    return latest.state


def _check_same(latest: checkpoint.Latest, session: Session) -> None:
    old, saved = latest.state["config"], latest.state["data"]
    of_config = config_differences(old, session.resolved)
    places = (data_root(config) for config in (old, session.resolved))
    of_images = differences(saved.get("fingerprint"), session.fingerprint, *places)
    if not of_images and saved["images"] != len(session.data.train):
        of_images = [f"training images: {saved['images']} -> {len(session.data.train)}"]
    if of_config:
        raise UserError(
            f"{latest.path} was trained with another configuration ({'; '.join([*of_config, *of_images])}); give the "
            f"same configuration, another run.name, or resume=never."
        )
    if of_images:
        raise UserError(
            f"{latest.path} was trained on other images ({'; '.join(of_images)}); give data.root=<their folder>, "
            "another run.name, or resume=never."
        )
