"""What the README promises of its examples; that all of it runs is tested in `documentation/`."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def block_with(text: str) -> str:
    (block,) = (block for block in BLOCKS if text in block)
    return block


def test_svi_example_trains_with_plain_pyro():
    block = block_with("pyro.infer.SVI")
    code = [line for line in block.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(code) <= 15
    scope: dict = {}
    exec(block + "\n    losses = globals().setdefault('losses', []); losses.append(loss)", scope)
    assert len(scope["losses"]) == 100
    assert sum(scope["losses"][-10:]) < sum(scope["losses"][:10])


def test_first_two_commands_are_the_set_up():
    commands = re.findall(r"```(?:sh|bash)\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert [line.split("#")[0].strip() for line in commands[0].splitlines()] == ["make train", "make test"]


def test_the_walk_through_trains_and_checks_a_likelihood_of_ones_own(train, tmp_path, capfd):
    (tmp_path / "my_module.py").write_text(block_with("class MyLikelihood"), encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    (command,) = re.findall(r"^python -m vje_ppl\.train (likelihood=custom .*)$", text, flags=re.MULTILINE)
    result = train(*command.split(), "trainer.epochs=2", "knn.every=0", small=False)
    assert result.returncode == 0, result.stderr
    assert "ELBO" in result.stdout
    exec(block_with("check_likelihood"), {"__name__": "__main__"})
    report = capfd.readouterr().out
    assert "passed  integrates_to_one" in report
    assert "FAILED" not in report.upper().replace("PASSED", "")
