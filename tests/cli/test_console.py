"""What the commands print, with numbers and paths masked: a change shows in a review.

`python -m pytest tests/cli/test_console.py --update-console` writes `console/` anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.commands import SMALL, command
from vje_ppl.compare.__main__ import main as compare
from vje_ppl.evaluate.__main__ import main as evaluate
from vje_ppl.train.__main__ import main as train

CONSOLE = Path(__file__).parent / "console"


def masked(text: str, folder: Path) -> str:
    """Without what differs from run to run or from machine to machine."""
    text = text.replace(str(folder), "<folder>")
    text = re.sub(r"[-−]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?", "#", text)
    text = re.sub(r"-{2,}", "--", text)  # below the headings of a table
    return re.sub(r"[ \t]+", " ", text)


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> dict[str, str]:
    """What each command prints about one run, by the command's name."""
    root = tmp_path_factory.mktemp("console")
    options = (*SMALL, f"run.root={root}", "run.name=a", "knn.every=1", "trainer.device=cpu", "trainer.progress=false")
    results = {
        "train": command(train, "vje_ppl.train", *options),
        "train-again": command(train, "vje_ppl.train", *options),
        "evaluate": command(evaluate, "vje_ppl.evaluate", f"run={root / 'a'}", "eval=knn"),
        "compare": command(compare, "vje_ppl.compare", f"runs={root}"),
    }
    assert all(result.returncode == 0 for result in results.values())
    return {name: masked(result.stdout + result.stderr, root) for name, result in results.items()}


@pytest.mark.parametrize("name", ["train", "train-again", "evaluate", "compare"])
def test_the_console_reads_as_on_file(printed, name, request):
    path = CONSOLE / f"{name}.txt"
    if request.config.getoption("--update-console"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(printed[name], encoding="utf-8")
    assert printed[name] == path.read_text(encoding="utf-8")
