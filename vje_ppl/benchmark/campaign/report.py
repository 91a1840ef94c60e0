"""The results of a campaign, with targets beside them, as rows and in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vje_ppl.terminal.table import markdown_table

#: For one H100: stage, result, sense, target.
TARGETS = (
    ("throughput", "vje_images_per_s", ">=", 12_000.0),
    ("throughput", "vje_over_lightly_simsiam", ">=", 3.0),
    ("throughput", "vje_share_augmentation", "<=", 0.15),
    ("throughput", "vje_share_program", "<=", 0.05),
    ("throughput", "large_images_per_s", ">=", 1_500.0),
    ("program", "operations_forward_and_backward", "<=", 150.0),
)

NOT_JUDGED = "The targets are for one H100 at full size. These are tiny sizes, so no target is judged."


def rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each result that is a number or a text, and for each stage that did not finish."""
    targets = {(stage, name): (sense, target) for stage, name, sense, target in TARGETS}
    judged = not report["smoke"]
    table: list[dict[str, Any]] = []
    for stage, found in report["stages"].items():
        if found["status"] != "finished":
            table.append({"stage": stage, "result": found["status"], "value": None, "target": None, "": ""})
        for name, value in found["results"].items():
            if not isinstance(value, int | float | str) or isinstance(value, bool):
                continue
            sense, target = targets.get((stage, name), ("", None))
            goal = None if target is None else f"{sense} {target:g}"
            table.append({"stage": stage, "result": name, "value": value, "target": goal, "": ""})
            if judged and target is not None and not isinstance(value, str):
                table[-1][""] = "met" if (value >= target if sense == ">=" else value <= target) else "missed"
    return table


def markdown(report: Mapping[str, Any]) -> str:
    """Return a short report: the machine, the results, and what failed."""
    machine = report["machine"]
    where = machine["gpu"] or f"{machine['processor']}, {machine['cores']} cores"
    packages = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        "# GPU campaign",
        "",
        f"{where}; {report['date']}; {packages}.",
        "",
        f"    {report['command']}",
        "",
        *([NOT_JUDGED, ""] if report["smoke"] else []),
        markdown_table(_stages(report)),
        "",
        markdown_table(rows(report), right=["value", "target"]),
        "",
    ]
    for stage, found in report["stages"].items():
        if found["status"] != "finished":
            lines += [f"The last lines of {stage}:", "", *(f"    {line}" for line in found["output"]), ""]
    return "\n".join(lines)


def _stages(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"stage": name, "status": found["status"], "seconds": round(found["seconds"], 1)}
        for name, found in report["stages"].items()
    ]
