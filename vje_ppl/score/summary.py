"""`summary.json`: what was scored, with which settings, and what came out; and the line on the console."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vje_ppl.errors import UserError
from vje_ppl.runs.files import json_lines, read_json, write_atomically
from vje_ppl.score.calibration import Calibration, too_few
from vje_ppl.score.table import PARTIAL, TABLE, Row
from vje_ppl.settings.identity import leaves

SUMMARY = "summary.json"


def check_same(folder: Path, setting: Mapping[str, Any]) -> bool:
    """Return whether a folder holds all results of a setting; False if some or none.

    Args:
        folder: the folder, which need not exist.
        setting: everything that determines the rows.

    Raises:
        UserError: if it holds results of another setting.
    """
    found = read_json(folder / SUMMARY)
    if found is None:
        if (folder / TABLE).exists() or (folder / PARTIAL).exists():
            raise UserError(f"{folder} holds scores without {SUMMARY}; give another out, or resume=never.")
        return False
    earlier = found.get("setting")
    before, now = (dict(leaves(side)) if isinstance(side, Mapping) else {} for side in (earlier, setting))
    changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    if changed:
        was, is_now = (side.get(changed[0], "absent") for side in (before, now))
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UserError(
            f"{folder} holds scores with other settings ({changed[0]}: {was} -> {is_now}{more}); give another out, or "
            "resume=never to start anew there."
        )
    return found.get("finished") is True and (folder / TABLE).exists()


def write_summary(folder: Path, setting: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> None:
    """Write `summary.json`, of a command that starts or, with facts, of one that has finished."""
    content = {"finished": facts is not None, **(facts or {}), "setting": dict(setting)}
    write_atomically(folder / SUMMARY, json_lines(content))


def result_facts(rows: list[Row], calibration: Calibration | None, alpha: float) -> dict[str, Any]:
    """Return what came out."""
    scored = [one for one in rows if one.score is not None]
    flagged = sum(bool(one.flag) for one in rows)
    facts: dict[str, Any] = {"images": len(rows), "scored": len(scored), "without_score": len(rows) - len(scored)}
    if calibration is None:
        return facts | {"flagged": None, "notes": ["no p-values: calibrate=false"]}
    count = len(calibration.scores)
    note = too_few(count, alpha)
    return facts | {
        "flagged": flagged,
        "flagged_share": flagged / len(scored) if scored else math.nan,
        "alpha": alpha,
        "calibration_images": count,
        "smallest_p_value": 1 / (count + 1),
        "notes": [] if note is None else [note],
    }


def console_line(facts: Mapping[str, Any], words: str) -> str:
    """Return the results in a line."""
    missing = f", {facts['without_score']} without a score" if facts["without_score"] else ""
    line = f"{facts['scored']} of {facts['images']} images{missing}"
    if facts["flagged"] is None:
        return f"{line}; no p-values"
    share = f" ({100 * facts['flagged_share']:.1f} %)" if facts["scored"] else ""
    return (
        f"{line}; {facts['flagged']} flagged{share} at alpha={facts['alpha']:g}, by {facts['calibration_images']} "
        f"calibration images {words}"
    )
