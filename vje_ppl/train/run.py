"""One run: made as configured, or resumed, then trained to its end."""

from __future__ import annotations

from omegaconf import DictConfig

from vje_ppl.data.contrast import contrast_warning
from vje_ppl.program.parameter_store import local_parameters
from vje_ppl.train.resume import saved_state
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
        return _train(session)


def _train(session: Session) -> int:
    state = saved_state(session)
    loop = session.loop()
    if state is not None:
        loop.load_state(state)
    if session.is_first:
        session.folder.write_config(session.resolved)
        print(headline(session, state), flush=True)
        warning = contrast_warning(session.data.train, session.augment.evaluation)
        if warning:
            print(f"warning: {warning}", flush=True)
            loop.collapse_advice = "images that differ (see the warning at the start)"
    finished = state is not None and state["finished"]
    code = 0 if finished else loop.fit()
    if code == 0 and session.is_first:
        metrics = final_metrics(session, loop.history)
        if not (finished and session.folder.metrics_json.exists()):  # it names the versions of its own training
            session.folder.write_metrics(metrics)
        print(closing_table(metrics, session.folder.path))
    return code
