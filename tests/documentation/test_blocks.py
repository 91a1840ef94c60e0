"""What the README and the site show runs: every block has a rule, commands compose, Python runs, pages work as told.

The rules are those of `blocks.py` (notes) and `commands.py` (commands); a block without one fails.
"""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from tests.documentation.blocks import BLOCKS, PAGES, ROOT, SITE, Block, blocks_of
from tests.documentation.commands import CONFIGS, NoRuleError, check, check_script, run

NAMES = [page.name for page in PAGES]
COMMANDS = [(block, command) for block in BLOCKS if not block.is_script for command in block.commands]

#: What a note may say about a block of each language; the empty one is no note.
NOTES = {
    "python": {"", "slow", "file"},
    "sh": {""},
    "bash": {"", "file"},
    "yaml": {"file"},
    "text": {"output", "groups", "tree"},
}


def of_page(name: str) -> list[Block]:
    return [block for block in BLOCKS if block.page == name]


def write_files(page: str, folder: Path) -> None:
    """The files that a page has its reader write, and what the README's prose names `my_module.py`."""
    for block in of_page(page):
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, encoding="utf-8")


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_has_a_rule(block):
    assert block.language in NOTES, f"{block}: blocks are {', '.join(NOTES)}; this one is {block.language!r}"
    kind = block.note.split(" ")[0]
    assert kind in NOTES[block.language], f"{block}: a block of {block.language} has the note {block.note!r}"
    if block.language == "yaml":
        assert yaml.safe_load(block.code)
    if block.language == "python":
        compile(block.code, str(block), "exec")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_fence_is_left_out(page):
    fences = re.findall(r"^```+", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    directives = re.findall(r"^```+\{", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(fences) == 2 * (len(blocks_of(page)) + len(directives))


@pytest.mark.parametrize(("block", "command"), COMMANDS, ids=[f"{block} {command}" for block, command in COMMANDS])
def test_a_command_composes(block, command, tmp_path):
    write_files(block.page, tmp_path)
    check(command, block, tmp_path)


@pytest.mark.parametrize("page", NAMES)
def test_a_script_parses_and_what_it_starts_composes(page, tmp_path):
    write_files(page, tmp_path)
    for block in of_page(page):
        if block.is_script:
            check_script(block, tmp_path)


@pytest.mark.parametrize("command", ["python -m vje_ppl.train prior=nothing", "python -m vje_ppl.train seeed=1"])
def test_a_mistyped_command_is_noticed(command, tmp_path):
    with pytest.raises(Exception, match=r"nothing|seeed"):
        check(command, BLOCKS[0], tmp_path)


@pytest.mark.parametrize("command", ["rm -rf runs", "python -m vje_ppl.nothing", "pip3 install vje_ppl"])
def test_a_command_without_a_rule_is_noticed(command, tmp_path):
    with pytest.raises(NoRuleError):
        check(command, BLOCKS[0], tmp_path)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.note == "groups"], ids=str)
def test_a_drawing_of_groups_shows_the_defaults(block):
    shown = dict(re.findall(r"[├└]── +(\w+) +(\w+)", block.code))
    defaults: dict[str, str] = {}
    for entry in OmegaConf.load(CONFIGS / "train.yaml").defaults:
        if entry != "_self_":
            defaults |= {str(key): value for key, value in entry.items()}
    assert len(shown) > 5
    assert {group: defaults[group] for group in shown} == shown


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.note == "tree"], ids=str)
def test_a_tree_shows_what_is_there(block):
    folder, shown = ROOT, []
    for line in block.code.splitlines():
        names = re.findall(r"(?<!\S)\w+(?:/|\.py)(?!\S)", line)
        if not line.startswith(" "):
            folder = ROOT / names[0]
        shown += [folder / name if line.startswith(" ") else ROOT / name for name in names]
    assert len(shown) > 10
    assert not [path for path in shown if not path.exists()]


def run_python(block: Block, scope: dict) -> None:
    with redirect_stdout(StringIO()):
        exec(compile(block.code, str(block), "exec"), scope)


def python_of(page: str) -> list[Block]:
    return [block for block in of_page(page) if block.language == "python"]


@pytest.mark.parametrize("page", [name for name in NAMES if any(not one.note for one in python_of(name))])
def test_python_runs_from_top_to_bottom(page, desk):
    write_files(page, desk)
    scope: dict = {"__name__": "__main__"}
    for block in python_of(page):
        if block.note != "slow":
            run_python(block, scope)


@pytest.mark.slow
@pytest.mark.parametrize("page", [name for name in NAMES if of_page(name)])
def test_a_page_works_as_told(page, desk):
    """Commands and Python in the order in which a reader meets them; sizes as in `commands.py`."""
    write_files(page, desk)
    scope: dict = {"__name__": "__main__"}
    printed = ""
    for block in of_page(page):
        if block.language == "python":
            run_python(block, scope)
        elif not block.is_script:
            printed += "".join(run(command, desk) for command in block.commands)
    for block in of_page(page):
        if block.note == "output":
            labels = [line.split(":")[0].split(maxsplit=1)[-1].strip() for line in block.code.splitlines()]
            assert labels
            assert all(label in printed for label in labels), f"{block}: {labels}"


def test_every_page_is_in_the_site():
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    trees = re.findall(r"```\{toctree\}\n(.*?)```", index, flags=re.DOTALL)
    listed = [line for tree in trees for line in tree.split("\n") if line and not line.startswith(":")]
    assert sorted(listed) == sorted(page.stem for page in SITE if page.stem != "index")
