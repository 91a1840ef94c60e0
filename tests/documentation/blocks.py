"""The code blocks of README, CONTRIBUTING and the site's pages, each with the note that a reader does not see.

A note stands on the line before a block: `<!-- test: ... -->`. What there is to note:

    file my_module.py   the block is this file, and is written before anything on the page runs
    slow                the block needs what the page's commands leave: it runs where they run, in the slow tests
    output              a sample of what the page's commands print
    groups              a drawing of configuration groups with their default options
    tree                folders and files of the project; two spaces lead into the folder above
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SITE = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *SITE]

_BLOCK = re.compile(
    r"^(?:<!-- test: (?P<note>[^\n]*?) -->\n)?(?P<fence>```+)(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=fence)$",
    flags=re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: the file's name.
        line: of the opening fence.
        language: as given; empty where there is none.
        note: what a reader does not see; empty where there is none.
        code: what stands between the fences.
    """

    page: str
    line: int
    language: str
    note: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that the block is, if it is one."""
        return self.note.removeprefix("file ") if self.note.startswith("file ") else None

    @property
    def is_script(self) -> bool:
        """Whether it is a whole shell script, such as one for sbatch."""
        return self.language in ("sh", "bash") and self.code.startswith("#!")

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block, continued lines joined, comments left out."""
        if self.language not in ("sh", "bash"):
            return []
        lines = self.code.replace("\\\n", " ").splitlines()
        return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def blocks_of(path: Path) -> list[Block]:
    """All blocks of a page but directives, which are Sphinx's own and no code."""
    text = path.read_text(encoding="utf-8")
    found = [
        Block(
            path.name,
            text.count("\n", 0, one.start("fence")) + 1,
            one["language"].strip(),
            one["note"] or "",
            one["code"],
        )
        for one in _BLOCK.finditer(text)
    ]
    return [one for one in found if not one.language.startswith("{")]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
