"""The tables of `scaling.md`, computed anew: `python docs/scaling.py` prints them, `--write` puts them into the page.

`--measure` times decoding and a step on this machine first, and keeps the result in `plan/measured.json`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from plan.budget import Budget
from plan.counts import count
from plan.devices import A100, H100, NODE

HERE = Path(__file__).parent
PAGE, MEASURED = HERE / "scaling.md", HERE / "plan/measured.json"

#: What is planned, as overrides of `python -m vje_ppl.train`; nothing of it is known to be the paper's.
SETTING = ("data=imagenet", "encoder=resnet50", "batch_size=1024", "trainer.epochs=100", "trainer.precision=bf16")
WIDE, NARROW = "guide.network.width=8", "guide.network.width=2"

Rows = list[tuple[str, ...]]


def tables() -> dict[str, str]:
    """Every table of the page by name, as Markdown."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    wide, narrow = count((*SETTING, WIDE)), count((*SETTING, NARROW))
    budgets = {
        f"{device.name.split()[0]}{title}": Budget(counts, device)
        for device in (A100, H100)
        for title, counts in ((", wide", wide), (", narrow", narrow))
    }
    return {
        "counted": markdown(
            ("counted", f"`{WIDE}`", f"`{NARROW}`"), _counted(Budget(wide, A100), Budget(narrow, A100))
        ),
        "measured": markdown(("measured", "value"), _measured(measured)),
        "stated": markdown(("stated", A100.name, H100.name), _stated()),
        "one-machine": markdown(("eight devices", *budgets), _one_machine(list(budgets.values()), measured)),
        "assumption": markdown(("hours, if a step reaches", *budgets), _assumption(list(budgets.values()))),
        "ten-times": markdown(("A100, wide", *_ten_times()), _grown(wide, measured)),
    }


def _row(budgets: Sequence[Budget], name: str, value: Callable[[Budget], str]) -> tuple[str, ...]:
    return (name, *map(value, budgets))


def _counted(*budgets: Budget) -> Rows:
    row = partial(_row, budgets)

    return [
        row("parameters of the encoder", lambda b: f"{b.counts.encoder / 1e6:.1f} M"),
        row("parameters of the inference network g_φ", lambda b: f"{b.counts.inference / 1e6:.1f} M"),
        row("operations an image, forward and backward", lambda b: f"{b.counts.operations / 1e9:.1f} GFLOP"),
        row("of these in g_φ", lambda b: f"{b.counts.operations_of_inference / b.counts.operations:.1%}"),
        row("activations kept an image", lambda b: f"{b.counts.activations / 1e6:.1f} MB"),
        row("memory traffic an image", lambda b: f"{b.counts.traffic / 1e6:.0f} MB"),
        row("and of its augmentation", lambda b: f"{b.counts.traffic_of_augmentation / 1e6:.0f} MB"),
        row("memory traffic a step, whatever the batch", lambda b: f"{b.counts.traffic_of_step / 1e9:.1f} GB"),
        row("layers with batch statistics", lambda b: f"{b.counts.norms}"),
    ]


def _measured(measured: dict[str, Any]) -> Rows:
    decode, step, machine = measured["decoding"], measured["step"], measured["machine"]
    photographs = f"photographs of {' × '.join(map(str, decode['pixels']))} pixels, {decode['kilobytes']} kB"
    return [
        (
            f"{photographs}, read, decoded and cut twice in a second of one core",
            f"{decode['images_per_s_per_core']:.0f} ({decode['slowest']:.0f} to {decode['fastest']:.0f})",
        ),
        (
            f"forward and backward of {step['images']} images in bf16, `{NARROW}`, in seconds of one core",
            f"{step['core_seconds']} ({step['images_per_core_second']} images a second)",
        ),
        (
            "where, and when",
            f"{machine['processor']}, {machine['cores']} cores, load {machine['load']} from other work; "
            f"torch {machine['torch']}, {machine['date']}",
        ),
    ]


def _stated() -> Rows:
    pair = (A100, H100)
    return [
        ("bf16 matrix products, dense", *(f"{device.operations / 1e12:.0f} TFLOP/s" for device in pair)),
        ("memory", *(f"{device.memory / 1e9:.0f} GB at {device.bandwidth / 1e12:.2f} TB/s" for device in pair)),
        ("to the devices of its machine, one direction", *(f"{device.link / 1e9:.0f} GB/s" for device in pair)),
        ("to other machines, a card a device", *(f"{device.network / 1e9:.0f} GB/s" for device in pair)),
    ]


def _one_machine(budgets: list[Budget], measured: dict[str, Any]) -> Rows:
    decode = measured["decoding"]["images_per_s_per_core"]

    row = partial(_row, budgets)

    return [
        row("a step at the peak rate of arithmetic", lambda b: f"{1e3 * b.arithmetic:.0f} ms"),
        row("a step at the peak rate of memory", lambda b: f"{1e3 * b.traffic:.0f} ms"),
        row("**a step, at the assumed efficiency**", lambda b: f"**{1e3 * b.step:.0f} ms**"),
        row("that is, of the peak rate of arithmetic", lambda b: f"{b.utilisation:.0%}"),
        row("images/s a device", lambda b: f"{b.rate:,.0f}"),
        row("**hours of the run**", lambda b: f"**{b.hours:.1f}**"),
        row("GPU hours", lambda b: f"{b.devices * b.hours:.0f}"),
        row("**memory of a device**", lambda b: f"**{b.memory / 1e9:.1f} GB**"),
        row("of that with the parameters", lambda b: f"{b.resident / 1e9:.1f} GB"),
        row("**cores that decode, a device**", lambda b: f"**{b.rate / decode:.1f}**"),
        row("and for the machine", lambda b: f"{b.devices * b.rate / decode:.0f}"),
        row("read from files", lambda b: f"{b.read / 1e9:.2f} GB/s"),
        row("**a checkpoint** (two are kept)", lambda b: f"**{b.checkpoint / 1e9:.2f} GB**"),
        row("**sent by a device in a step**", lambda b: f"**{b.sent / 1e9:.2f} GB**"),
        row("which takes, inside the machine", lambda b: f"{1e3 * b.inside:.1f} ms"),
        row("batch statistics, at the assumed latency", lambda b: f"{1e3 * b.normalization:.1f} ms"),
    ]


def _assumption(budgets: list[Budget]) -> Rows:
    return [
        (
            f"{efficiency:.0%} of the bound",
            *(f"{replace(budget, efficiency=efficiency).hours:.1f}" for budget in budgets),
        )
        for efficiency in (0.25, 0.5, 0.75, 1.0)
    ]


def _ten_times() -> tuple[str, ...]:
    return ("as above", "10 × images", "10 × devices, same batch", "10 × devices and batch", "10 × model")


def _grown(counts: Any, measured: dict[str, Any]) -> Rows:
    base = Budget(counts, A100)
    budgets = [
        base,
        replace(base, images=10 * base.images),
        replace(base, devices=10 * NODE, batch=1040),  # the next multiple of 80
        replace(base, devices=10 * NODE, batch=10 * base.batch),
        base.ten_times_the_model(),
    ]
    decode = measured["decoding"]["images_per_s_per_core"]

    row = partial(_row, budgets)

    return [
        row("images a step, and on a device", lambda b: f"{b.batch:,}, {b.share:.0f}"),
        row("a step, without communication", lambda b: f"{1e3 * b.step:.0f} ms"),
        row("hours, without communication", lambda b: f"{b.hours:.1f}"),
        row("memory of a device", lambda b: f"{b.memory / 1e9:.0f} GB"),
        row("a checkpoint", lambda b: f"{b.checkpoint / 1e9:.1f} GB"),
        row("gradients inside a machine", lambda b: f"{1e3 * b.inside:.0f} ms"),
        row("between machines, a card a device", lambda b: f"{1e3 * b.between:.0f} ms" if b.devices > NODE else ""),
        row(
            "between machines, one card each",
            lambda b: f"{1e3 * b.between_by_one_card:.0f} ms" if b.devices > NODE else "",
        ),
        row("read from files", lambda b: f"{b.read / 1e9:.1f} GB/s"),
        row("files opened a second", lambda b: f"{b.devices * b.rate:,.0f}"),
        row("cores that decode", lambda b: f"{b.devices * b.rate / decode:.0f}"),
    ]


def markdown(heading: tuple[str, ...], rows: Rows) -> str:
    """A Markdown table whose first column is words and whose others are numbers."""
    rule = ("---", *["---:"] * (len(heading) - 1))
    return "\n".join("| " + " | ".join(row) + " |" for row in (heading, rule, *rows))


def written(text: str, blocks: dict[str, str]) -> str:
    """A page with each block between its pair of marks, `<!-- table: name -->` and `<!-- end -->`.

    Raises:
        ValueError: if a block has no place in the page, or the page a place without a block.
    """
    marks = re.findall(r"<!-- table: ([\w-]+) -->", text)
    if sorted(marks) != sorted(blocks):
        raise ValueError(f"the page has places for {sorted(marks)}, and the tables are {sorted(blocks)}")
    for name, block in blocks.items():
        pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda found, block=block: f"{found[1]}\n{block}\n\n{found[2]}", text, flags=re.DOTALL)
    return text


def main() -> None:
    """Measure if asked to, then print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="time decoding and a step on this machine first")
    parser.add_argument("--write", action="store_true", help="put the tables into scaling.md")
    options = parser.parse_args()
    if options.measure:
        from plan import measure

        step = measure.step_on_a_processor([*SETTING, NARROW])
        found = {"decoding": measure.decoding(), "step": step, "machine": measure.machine()}
        MEASURED.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    blocks = tables()
    if options.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), blocks), encoding="utf-8")
    for name, block in blocks.items():
        print(f"{name}\n\n{block}\n")


if __name__ == "__main__":
    main()
